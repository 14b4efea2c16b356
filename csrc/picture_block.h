// The kernel of the camera: one picture by a block of threads, in phases as in block.h. Its plain twin is
// cpu/take_picture.h; the formulas are in camera.h.
//
// A picture is developed in segments, which sharpness steps divide. Within a segment a pixel's gray goes through a
// table; pixels off a window's frame have one gray a window. What a segment's table needs to know of the whole picture
// (its histogram) is counted by a pass over all pixels; nothing but the canvas and a few rows is ever kept.
#pragma once

#include "block.h"
#include "camera.h"

namespace onepfrac {

inline constexpr int kMaxSegments = kMaxSharpness + 1;
inline constexpr int kBlockTaps = 16;        // kernels up to this width are looked up, wider ones worked out every time
inline constexpr int kRun = kNoisePerBlock;  // columns that a thread takes at a time
inline constexpr int kStripRows = 4 + 2 * kMaxSharpness;
inline constexpr int kNibbles = kBlockTaps / 4;

struct PictureMemory {
    Shot shot;
    // Of kernels that are looked up. Along x, of bits: the sums of four taps by those that are inked,
    // [phase][nibble][16]; of grays: the weights, [phase][tap].
    std::int16_t along_x[kPhases * kNibbles * 16];
    std::int16_t along_y[kPhases * kBlockTaps];  // weights
    float factors[2][kPhases];                   // of kernels that are not
    std::uint32_t histogram[256];
    std::uint32_t now[256];                // the histogram after the steps that have been taken
    std::uint32_t of_window[kMaxWindows];  // how many pixels have a window's gray
    Statistics statistics;
    std::int32_t passed[kMaxSegments];  // windows whose step has been taken by the end of a segment
    std::uint8_t table[kMaxSegments][256];
    std::uint8_t fill[kMaxSegments][kMaxWindows];
    std::uint8_t coming[kMaxWindows];  // the gray of a window before its step
    std::uint8_t of_step[256];
};

// Rows that are kept while a picture is sharpened, in bytes; two of them.
ONEPFRAC_FN std::int64_t strip_bytes(int size) {
    return static_cast<std::int64_t>(kStripRows) * size;
}

ONEPFRAC_FN std::int64_t picture_memory_bytes(int size) {
    return (static_cast<std::int64_t>(sizeof(PictureMemory)) + 2 * strip_bytes(size) + 15) / 16 * 16;
}

// Canvases as a block reads them. sum() is the weighted sum around a place, for kernels that are looked up; gray() is
// one pixel.
struct BlockBits {
    const std::uint32_t* words;
    int width, height;

    ONEPFRAC_FN const std::uint32_t* line(int row) const {
        return words + static_cast<std::int64_t>(row) * words_per_row(width);
    }
    ONEPFRAC_FN std::int32_t sum(const PictureMemory& memory, Place x, Place y, int reach_x, int reach_y) const {
        const std::int16_t* weights = memory.along_y + y.phase * kBlockTaps;
        const std::int16_t* sums = memory.along_x + x.phase * (kNibbles * 16);
        const int left = x.base - reach_x + 1, top = y.base - reach_y + 1, taps = 2 * reach_x;
        // Of sixteen bits; taps that do not exist have no weight.
        const auto row_sum = [&](std::uint32_t bits) {
            const std::int32_t eight = sums[bits & 15U] + sums[16 + ((bits >> 4) & 15U)];
            return taps <= 8 ? eight : eight + sums[32 + ((bits >> 8) & 15U)] + sums[48 + ((bits >> 12) & 15U)];
        };
        std::int32_t total = 0;
        if (left >= 0 && left + taps <= width && top >= 0 && top + 2 * reach_y <= height) {
            const int stride = words_per_row(width), next = ((left + taps - 1) >> 5) - (left >> 5);  // 0 or 1
            const std::uint32_t* from = line(top) + (left >> 5);
            for (int v = 0; v < 2 * reach_y; ++v, from += stride) {
                const std::uint64_t both = (static_cast<std::uint64_t>(from[next]) << 32) | from[0];
                total += weights[v] * row_sum(static_cast<std::uint32_t>(both >> (left & 31)));
            }
            return total * kInkGray;
        }
#if defined(__CUDA_ARCH__)
#pragma unroll 1
#endif
        for (int v = 0; v < 2 * reach_y; ++v) {
            const std::uint32_t* from = line(clamp_index(top + v, height));
            std::uint32_t bits = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll 1
#endif
            for (int u = 0; u < taps; ++u) {
                const int column = clamp_index(left + u, width);
                bits |= ((from[column >> 5] >> (column & 31)) & 1U) << u;
            }
            total += weights[v] * row_sum(bits);
        }
        return total * kInkGray;
    }
    // Where a phase's weights are left for finish(), which turns them into sums: in the place of the last nibble's.
    static ONEPFRAC_FN std::int16_t* weights_of(std::int16_t* along_x, int phase) {
        return along_x + (phase + 1) * (kNibbles * 16) - kBlockTaps;
    }
    static ONEPFRAC_FN void finish(std::int16_t* along_x, int phase, int taps) {
        const std::int16_t* weights = weights_of(along_x, phase);
        for (int nibble = 0; nibble < kNibbles; ++nibble) {
            const auto weight = [&](int u) { return 4 * nibble + u < taps ? weights[4 * nibble + u] : 0; };
            const int first = weight(0), second = weight(1), third = weight(2), fourth = weight(3);
            std::int16_t* sums = along_x + (phase * kNibbles + nibble) * 16;
            for (int bits = 0; bits < 16; ++bits) {
                sums[bits] = static_cast<std::int16_t>(((bits & 1) != 0 ? first : 0) + ((bits & 2) != 0 ? second : 0) +
                                                       ((bits & 4) != 0 ? third : 0) + ((bits & 8) != 0 ? fourth : 0));
            }
        }
    }
    ONEPFRAC_FN std::int32_t gray(int row, int column) const {
        return static_cast<std::int32_t>((line(row)[column >> 5] >> (column & 31)) & 1U) * kInkGray;
    }
};

struct BlockGrays {
    const std::uint8_t* pixels;
    int width, height;

    ONEPFRAC_FN std::int32_t sum(const PictureMemory& memory, Place x, Place y, int reach_x, int reach_y) const {
        std::int32_t total = 0;
        for (int v = 0; v < 2 * reach_y; ++v) {
            const int row = clamp_index(y.base - reach_y + 1 + v, height);
            std::int32_t of_row = 0;
            for (int u = 0; u < 2 * reach_x; ++u) {
                of_row +=
                    memory.along_x[x.phase * kBlockTaps + u] * gray(row, clamp_index(x.base - reach_x + 1 + u, width));
            }
            total += memory.along_y[y.phase * kBlockTaps + v] * of_row;
        }
        return total;
    }
    static ONEPFRAC_FN std::int16_t* weights_of(std::int16_t* along_x, int phase) {
        return along_x + phase * kBlockTaps;
    }
    static ONEPFRAC_FN void finish(std::int16_t* /*along_x*/, int /*phase*/, int /*taps*/) {}
    ONEPFRAC_FN std::int32_t gray(int row, int column) const {
        return pixels[static_cast<std::int64_t>(row) * width + column];
    }
};

// The gray at a place, of kernels that are not looked up.
template <class Canvas>
ONEPFRAC_FN int sample_wide(const Canvas& canvas, const Film& film, const PictureMemory& memory, Place x, Place y) {
    const Kernel along_x(memory.shot.footprint[0], film.bilinear), along_y(memory.shot.footprint[1], film.bilinear);
    const float factor_x = memory.factors[0][x.phase], factor_y = memory.factors[1][y.phase];
    const int left = x.base - along_x.reach + 1, top = y.base - along_y.reach + 1;
    std::int32_t sum = 0;
    float running_y = 0.0F;
    int before_y = 0;
    for (int v = 0; v < along_y.taps(); ++v) {
        running_y += along_y.raw(v, y.phase);
        const int now_y = Kernel::edge(running_y, factor_y);
        const int weight = now_y - before_y;
        before_y = now_y;
        if (weight == 0) continue;
        const int row = clamp_index(top + v, canvas.height);
        float running_x = 0.0F;
        int before_x = 0;
        std::int32_t of_row = 0;
        for (int u = 0; u < along_x.taps(); ++u) {
            running_x += along_x.raw(u, x.phase);
            const int now_x = Kernel::edge(running_x, factor_x);
            of_row += (now_x - before_x) * canvas.gray(row, clamp_index(left + u, canvas.width));
            before_x = now_x;
        }
        sum += weight * of_row;
    }
    return gray_of_sum(sum);
}

template <class Canvas>
ONEPFRAC_FN int sample_gray(const Canvas& canvas, const Film& film, const PictureMemory& memory, int reach_x,
                            int reach_y, std::int64_t x_at, std::int64_t y_at) {
    const Place x = place_of(x_at), y = place_of(y_at);
    if (2 * reach_x > kBlockTaps || 2 * reach_y > kBlockTaps) return sample_wide(canvas, film, memory, x, y);
    return gray_of_sum(canvas.sum(memory, x, y, reach_x, reach_y));
}

// 1 + the number of the last window off whose frame a pixel lies; 0 where there is none.
ONEPFRAC_FN int level_of(const Shot& shot, int column, int row) {
    for (int g = shot.num_windows; g > 0; --g) {
        if (!is_inside(shot.windows[g - 1], column, row)) return g;
    }
    return 0;
}

// What comes out of a segment where `gray` goes in.
ONEPFRAC_FN int leaving(const PictureMemory& memory, int segment, int gray, int level) {
    const int merged = segment == 0 ? 0 : memory.passed[segment - 1];
    if (level <= merged) return memory.table[segment][gray];
    return level <= memory.passed[segment] ? memory.fill[segment][level - 1] : memory.coming[level - 1];
}

// Up to kRun neighbouring pixels of a row: what goes into a segment, and levels, eight bits a pixel.
struct Run {
    int row, begin, count;
    std::uint64_t grays, levels;

    ONEPFRAC_FN int gray(int k) const { return static_cast<int>((grays >> (8 * k)) & 255U); }
    ONEPFRAC_FN int level(int k) const { return static_cast<int>((levels >> (8 * k)) & 255U); }
    ONEPFRAC_FN void set(int k, int gray, int level) {
        grays |= static_cast<std::uint64_t>(gray) << (8 * k);
        levels |= static_cast<std::uint64_t>(level) << (8 * k);
    }
};

// Run number `at` of the rows from `first_row` on, with grays of the canvas.
template <class Canvas>
ONEPFRAC_FN Run sample_run(const Canvas& canvas, const Film& film, const PictureMemory& memory, int row, int begin) {
    const Shot& shot = memory.shot;
    Run run{row, begin, film.size - begin < kRun ? film.size - begin : kRun, 0U, 0U};
    const int reach_x = reach_of(shot.footprint[0], film.bilinear),
              reach_y = reach_of(shot.footprint[1], film.bilinear);
    std::int64_t x_at = position_at(shot.view, begin, row), y_at = position_at(shot.view + 3, begin, row);
#if defined(__CUDA_ARCH__)
#pragma unroll 1
#endif
    for (int k = 0; k < run.count; ++k, x_at += shot.view[0], y_at += shot.view[3]) {
        const int level = level_of(shot, begin + k, row);
        run.set(k, level == 0 ? sample_gray(canvas, film, memory, reach_x, reach_y, x_at, y_at) : 0, level);
    }
    return run;
}

// The same of rows that the sharpness step before a segment has left; `from` begins at picture row `base`.
ONEPFRAC_FN Run sharpen_run(const PictureMemory& memory, const std::uint8_t* from, int base, int size, float factor,
                            int row, int begin) {
    Run run{row, begin, size - begin < kRun ? size - begin : kRun, 0U, 0U};
    for (int k = 0; k < run.count; ++k) {
        const int column = begin + k;
        const std::uint8_t* here = from + static_cast<std::int64_t>(row - base) * size + column;
        const bool border = row == 0 || row == size - 1 || column == 0 || column == size - 1;
        run.set(k, border ? *here : sharpened(here - size, here, here + size, factor),
                level_of(memory.shot, column, row));
    }
    return run;
}

// The amount of the s-th sharpness step, s = 1, 2, ...
ONEPFRAC_FN float sharpness_factor(const Shot& shot, int s) {
    int seen = 0;
    for (int k = 0; k < shot.num_steps; ++k) {
        if (shot.steps[k] == Step::kSharpness && ++seen == s) return shot.amounts[k];
    }
    return 1.0F;
}

// Passes over all pixels and hands what goes into a segment to take(run).
template <class Threads, class Canvas, class Take>
ONEPFRAC_FN void each_run(Threads& threads, const Canvas& canvas, const Film& film, const PictureMemory& memory,
                          std::uint8_t* strips, int segment, Take&& take) {
    const int size = film.size, count = threads.count(), runs = (size + kRun - 1) / kRun;
    const int rows = segment == 0 ? size : kStripRows - 2 * segment;  // rows of the picture that a strip finishes
    for (int first = 0; first < size; first += rows) {
        const int end = first + rows < size ? first + rows : size;
        for (int s = 0; s <= segment; ++s) {
            const int margin = segment - s;  // rows above and below that the next sharpness steps need
            const int begin_row = first > margin ? first - margin : 0;
            const int end_row = end + margin < size ? end + margin : size;
            const int base = first - segment;  // the picture's row that is a strip's first
            std::uint8_t* to = strips + (s % 2) * strip_bytes(size);
            const std::uint8_t* from = strips + ((s + 1) % 2) * strip_bytes(size);
            threads.each([&](int thread) {
                const float factor = s == 0 ? 0.0F : sharpness_factor(memory.shot, s);
                for (int at = thread; at < (end_row - begin_row) * runs; at += count) {
                    const int row = begin_row + at / runs, begin = at % runs * kRun;
                    const Run run = s == 0 ? sample_run(canvas, film, memory, row, begin)
                                           : sharpen_run(memory, from, base, size, factor, row, begin);
                    if (s == segment) {
                        take(run);
                    } else {
                        for (int k = 0; k < run.count; ++k) {
                            to[static_cast<std::int64_t>(row - base) * size + begin + k] =
                                static_cast<std::uint8_t>(leaving(memory, s, run.gray(k), run.level(k)));
                        }
                    }
                }
            });
        }
    }
}

ONEPFRAC_FN std::uint32_t load_value(const void* values, PixelType type, int at) {
    switch (pixel_bytes(type)) {
        case 1:
            return static_cast<const std::uint8_t*>(values)[at];
        case 2:
            return static_cast<const std::uint16_t*>(values)[at];
        default:
            return static_cast<const std::uint32_t*>(values)[at];
    }
}

ONEPFRAC_FN void store_value(void* out, PixelType type, std::int64_t at, std::uint32_t value) {
    switch (pixel_bytes(type)) {
        case 1:
            static_cast<std::uint8_t*>(out)[at] = static_cast<std::uint8_t>(value);
            return;
        case 2:
            static_cast<std::uint16_t*>(out)[at] = static_cast<std::uint16_t>(value);
            return;
        default:
            static_cast<std::uint32_t*>(out)[at] = value;
    }
}

// kRun values side by side, on a multiple of their size.
ONEPFRAC_FN void store_run(void* out, PixelType type, std::int64_t at, const std::uint32_t (&values)[kRun]) {
    static_assert(kRun == 8);
    struct alignas(16) Quad {
        std::uint32_t part[4];
    };
    struct alignas(8) Pair {
        std::uint32_t part[2];
    };
    switch (pixel_bytes(type)) {
        case 1:
            *reinterpret_cast<Pair*>(static_cast<std::uint8_t*>(out) +
                                     at) = {{values[0] | values[1] << 8 | values[2] << 16 | values[3] << 24,
                                             values[4] | values[5] << 8 | values[6] << 16 | values[7] << 24}};
            return;
        case 2:
            *reinterpret_cast<Quad*>(static_cast<std::uint16_t*>(out) +
                                     at) = {{values[0] | values[1] << 16, values[2] | values[3] << 16,
                                             values[4] | values[5] << 16, values[6] | values[7] << 16}};
            return;
        default: {
            Quad* quads = reinterpret_cast<Quad*>(static_cast<std::uint32_t*>(out) + at);
            quads[0] = {{values[0], values[1], values[2], values[3]}};
            quads[1] = {{values[4], values[5], values[6], values[7]}};
        }
    }
}

// Writes a run of the last segment.
ONEPFRAC_FN void write_run(const Film& film, const PictureMemory& memory, std::int64_t image, int segment,
                           const Run& run) {
    const Shot& shot = memory.shot;
    const std::int64_t size = film.size, area = size * size;
    const bool whole = !film.channels_last && size % kRun == 0 &&
                       reinterpret_cast<std::uintptr_t>(film.out) % static_cast<std::uintptr_t>(16) == 0;
    const int down = run.row - shot.erased[0];
    const bool erases = down >= 0 && down < shot.erased[2] && run.begin < shot.erased[1] + shot.erased[3] &&
                        run.begin + run.count > shot.erased[1];
    int grays[kRun];
    for (int k = 0; k < kRun; ++k) {
        grays[k] = k < run.count ? leaving(memory, segment, run.gray(k), run.level(k)) : 0;
    }
    std::uint32_t values[kRun] = {};
    for (int c = 0; c < film.channels; ++c) {
        const int table_row = film.table_rows == 1 ? 0 : c;
        if (c == 0 || film.table_rows > 1 || erases) {
            for (int k = 0; k < kRun; ++k) values[k] = load_value(film.table, film.type, 256 * table_row + grays[k]);
        }
        if (erases) {
            const PhiloxBlock<ScalarLanes> block = noise_block<ScalarLanes>(
                static_cast<std::uint32_t>(run.begin / kNoisePerBlock), run.row, c, RoundKeys<ScalarLanes>(shot.key));
            for (int k = 0; k < kRun; ++k) {
                const int across = run.begin + k - shot.erased[1];
                if (across < 0 || across >= shot.erased[3]) continue;
                const int level = static_cast<int>(noise_level(block.word[k / 2], k % 2));
                values[k] = load_value(film.noise, film.type, kNoiseLevels * table_row + level);
            }
        }
        const std::int64_t first = film.channels_last ? (image * area + run.row * size + run.begin) * film.channels + c
                                                      : (image * film.channels + c) * area + run.row * size + run.begin;
        if (whole) {
            store_run(film.out, film.type, first, values);
        } else {
            for (int k = 0; k < kRun; ++k) {
                if (k < run.count) {
                    store_value(film.out, film.type, first + k * (film.channels_last ? film.channels : 1), values[k]);
                }
            }
        }
    }
}

// Develops a picture and writes it. `canvas` is what it is taken of.
//
// Steps are taken in order; one that needs statistics first waits for a pass that counts. The passes, and the one that
// writes at the end, are one loop, so that the code of a pass is there once.
template <class Threads, class Canvas>
ONEPFRAC_FN void develop_block(Threads& threads, const Canvas& canvas, const Film& film, std::int64_t image,
                               PictureMemory& memory, std::uint8_t* strips) {
    const int count = threads.count();
    int segment = 0, passed = 0, k = 0;
    bool counted = false;
    for (;;) {
        // Steps, until one needs a histogram that has not been counted.
        bool counts = false;
        for (; k < memory.shot.num_steps; ++k) {
            const Step step = memory.shot.steps[k];
            const float amount = memory.shot.amounts[k];
            const int merged = segment == 0 ? 0 : memory.passed[segment - 1];
            if (step == Step::kWindow) {
                ++passed;
                threads.each([&](int thread) {
                    if (thread != 0) return;
                    memory.fill[segment][passed - 1] = static_cast<std::uint8_t>(amount);
                    memory.passed[segment] = passed;
                });
                continue;
            }
            if (step == Step::kSharpness) {
                ++segment;
                counted = false;
                threads.each([&](int thread) {
                    for (int v = thread; v < 256; v += count) memory.table[segment][v] = static_cast<std::uint8_t>(v);
                    if (thread == 0) memory.passed[segment] = passed;
                });
                continue;
            }
            if (needs_statistics(step)) {
                if (!counted) {
                    counts = true;
                    break;
                }
                threads.each([&](int thread) {
                    if (thread != 0) return;
                    for (std::uint32_t& bin : memory.now) bin = 0U;
                    for (int v = 0; v < 256; ++v) memory.now[memory.table[segment][v]] += memory.histogram[v];
                    for (int g = merged; g < passed; ++g) memory.now[memory.fill[segment][g]] += memory.of_window[g];
                    memory.statistics = statistics_of(step, memory.now);
                    if (step == Step::kEqualize) equalize_table(memory.now, memory.of_step);
                });
            }
            threads.each([&](int thread) {
                const auto toned_gray = [&](int gray) {
                    return step == Step::kEqualize
                               ? memory.of_step[gray]
                               : static_cast<std::uint8_t>(toned(step, amount, memory.statistics, gray));
                };
                for (int v = thread; v < 256; v += count) {
                    memory.table[segment][v] = toned_gray(memory.table[segment][v]);
                }
                if (thread != 0) return;
                for (int g = merged; g < passed; ++g) memory.fill[segment][g] = toned_gray(memory.fill[segment][g]);
            });
        }
        if (counts) {
            threads.each([&](int thread) {
                for (int v = thread; v < 256; v += count) memory.histogram[v] = 0U;
                if (thread != 0) return;
                for (std::uint32_t& pixels : memory.of_window) pixels = 0U;
            });
        }
        const int merged = segment == 0 ? 0 : memory.passed[segment - 1];
        each_run(threads, canvas, film, memory, strips, segment, [&](const Run& run) {
            if (!counts) {
                write_run(film, memory, image, segment, run);
                return;
            }
            for (int i = 0; i < run.count; ++i) {
                const int level = run.level(i);
                Threads::atomic_add(level <= merged ? &memory.histogram[run.gray(i)] : &memory.of_window[level - 1],
                                    1U);
            }
        });
        if (!counts) return;
        counted = true;
    }
}

// Loads a shot and makes its kernels.
template <class Canvas, class Threads>
ONEPFRAC_FN void load_shot_block(Threads& threads, const Shot* shot, const Film& film, PictureMemory& memory) {
    const int count = threads.count();
    threads.each([&](int thread) {
        const auto* from = reinterpret_cast<const std::uint32_t*>(shot);
        auto* to = reinterpret_cast<std::uint32_t*>(&memory.shot);
        // NOLINTNEXTLINE(clang-analyzer-security.ArrayBound): the analyser lets i += count wrap
        for (int i = thread; i < kShotWords; i += count) to[i] = from[i];
        for (int v = thread; v < 256; v += count) memory.table[0][v] = static_cast<std::uint8_t>(v);
    });
    threads.each([&](int thread) {
        for (int at = thread; at < 2 * kPhases; at += count) {
            const int axis = at / kPhases, phase = at % kPhases;
            // NOLINTNEXTLINE(clang-analyzer-security.ArrayBound): as above
            const Kernel kernel(memory.shot.footprint[axis], film.bilinear);
            memory.factors[axis][phase] = Kernel::factor_of(kernel.sum(phase));
            if (kernel.taps() > kBlockTaps) continue;
            if (axis == 0) {
                kernel.weights(phase, Canvas::weights_of(memory.along_x, phase));
                Canvas::finish(memory.along_x, phase, kernel.taps());
            } else {
                kernel.weights(phase, memory.along_y + phase * kBlockTaps);
            }
        }
        if (thread != 0) return;
        memory.passed[0] = 0;
        int window = 0;
        for (int k = 0; k < memory.shot.num_steps; ++k) {
            if (memory.shot.steps[k] == Step::kWindow) {
                memory.coming[window++] = static_cast<std::uint8_t>(memory.shot.amounts[k]);
            }
        }
    });
}

// Canvas number i of a batch.
template <class Canvas>
ONEPFRAC_FN Canvas canvas_of(const Canvases& canvases, std::int64_t number);

template <>
ONEPFRAC_FN BlockBits canvas_of<BlockBits>(const Canvases& canvases, std::int64_t number) {
    const std::int64_t words = static_cast<std::int64_t>(canvases.height) * words_per_row(canvases.width);
    return {canvases.bits + number * words, canvases.width, canvases.height};
}

template <>
ONEPFRAC_FN BlockGrays canvas_of<BlockGrays>(const Canvases& canvases, std::int64_t number) {
    const std::int64_t pixels = static_cast<std::int64_t>(canvases.height) * canvases.width;
    return {canvases.grays + number * pixels, canvases.width, canvases.height};
}

// A picture of a canvas that lies in memory.
template <class Canvas, class Threads>
ONEPFRAC_FN void take_picture_block(Threads& threads, const PictureJob& job, std::int64_t image,
                                    PictureMemory& memory) {
    load_shot_block<Canvas>(threads, job.shots + image, job.film, memory);
    const Canvas canvas =
        canvas_of<Canvas>(job.canvases, job.canvases.which == nullptr ? image : job.canvases.which[image]);
    develop_block(threads, canvas, job.film, image, memory, reinterpret_cast<std::uint8_t*>(&memory + 1));
}

// Rows that are brushed at a time: as many as give each of 256 threads four words.
ONEPFRAC_FN int brush_strip_rows(int size) {
    const int rows = (4 * static_cast<int>(kOrbits) + words_per_row(size) - 1) / words_per_row(size);
    return rows < size ? rows : size;
}

// Shared memory of a block that draws a canvas and takes its picture, in bytes: the picture's part first.
ONEPFRAC_FN std::int64_t drawn_picture_bytes(int canvas, int size) {
    const std::int64_t spare =
        static_cast<std::int64_t>(brush_strip_rows(canvas) + kBrushReach) * words_per_row(canvas);
    return picture_memory_bytes(size) + block_memory_bytes(canvas, canvas) + 4 * spare;
}

// A picture of a canvas that is drawn on the way, in the block's memory. The canvas is brushed in place: strip by strip
// from the bottom, each moved down by more rows than it has, since a brushed row depends on the three below it.
template <int kMaps, class Threads>
ONEPFRAC_FN void draw_picture_block(Threads& threads, const BlockJob& job, const Shot* shots, const Film& film,
                                    std::int64_t image, BlockMemory& memory, PictureMemory& picture) {
    const Band band(job, 0);
    draw_points_block<kMaps, BitCells>(threads, job, image, band, memory);
    const std::uint32_t* words = memory.canvas;
    if (job.brush != Brush::kPoint) {
        const int stride = words_per_row(job.size), rows = brush_strip_rows(job.size);
        const int shift = (rows + kBrushReach) * stride;
        for (int end = job.size; end > 0; end -= rows) {
            const int begin = end > rows ? end - rows : 0;
            threads.each([&](int thread) {
                brush_rows(job, memory, band, begin, end, thread, threads.count(),
                           [&](int row, int j, std::uint32_t word) { memory.canvas[shift + row * stride + j] = word; });
            });
        }
        words += shift;
    }
    load_shot_block<BlockBits>(threads, shots + image, film, picture);
    const BlockBits bits{words, job.size, job.size};
    develop_block(threads, bits, film, image, picture, reinterpret_cast<std::uint8_t*>(&picture + 1));
}

}  // namespace onepfrac
