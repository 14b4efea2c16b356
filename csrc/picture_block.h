// The kernel of the camera: one picture by a block of threads, in phases as in block.h. Its plain twin is
// cpu/take_picture.h; the formulas are in camera.h.
//
// A picture is developed in segments, which sharpness steps divide. Within a segment a pixel's gray goes through a table;
// pixels off a window's frame have one gray a window. What a segment's table needs to know of the whole picture (its
// histogram) is counted by a pass over all pixels; nothing but the canvas and a few rows is ever kept.
#pragma once

#include "block.h"
#include "camera.h"

namespace onepfrac {

inline constexpr int kMaxSegments = kMaxSharpness + 1;
inline constexpr int kBlockTaps = 16;  // kernels up to this width are looked up, wider ones worked out again and again
inline constexpr int kRun = kNoisePerBlock;  // columns that a thread takes at a time
inline constexpr int kStripRows = 4 + 2 * kMaxSharpness;

struct PictureMemory {
    Shot shot;
    std::int16_t weights[2][kPhases][kBlockTaps];
    float factors[2][kPhases];  // of kernels that are not looked up
    std::uint32_t histogram[256];
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

// A canvas as a block reads it: row_sum() is the weighted sum of grays in a row.
struct BlockBits {
    const std::uint32_t* words;
    int width, height;

    ONEPFRAC_FN std::int32_t row_sum(int row, int left, int taps, const std::int16_t* weights) const {
        const std::uint32_t* line = words + static_cast<std::int64_t>(row) * words_per_row(width);
        std::int32_t sum = 0;
        if (left >= 0 && left + taps <= width) {
            const int j = left >> 5;
            const std::uint64_t next = ((left + taps - 1) >> 5) > j ? line[j + 1] : 0U;
            const auto bits = static_cast<std::uint32_t>(((next << 32) | line[j]) >> (left & 31));
            for (int u = 0; u < taps; ++u) sum += ((bits >> u) & 1U) != 0U ? weights[u] : 0;
        } else {
            for (int u = 0; u < taps; ++u) sum += gray(row, clamp_index(left + u, width)) != 0 ? weights[u] : 0;
        }
        return kInkGray * sum;
    }
    ONEPFRAC_FN std::int32_t gray(int row, int column) const {
        const std::uint32_t word = words[static_cast<std::int64_t>(row) * words_per_row(width) + (column >> 5)];
        return static_cast<std::int32_t>((word >> (column & 31)) & 1U) * kInkGray;
    }
};

struct BlockGrays {
    const std::uint8_t* pixels;
    int width, height;

    ONEPFRAC_FN std::int32_t row_sum(int row, int left, int taps, const std::int16_t* weights) const {
        std::int32_t sum = 0;
        for (int u = 0; u < taps; ++u) sum += weights[u] * gray(row, clamp_index(left + u, width));
        return sum;
    }
    ONEPFRAC_FN std::int32_t gray(int row, int column) const {
        return pixels[static_cast<std::int64_t>(row) * width + column];
    }
};

template <class Canvas>
ONEPFRAC_FN int sample_gray(const Canvas& canvas, const Film& film, const PictureMemory& memory, int column, int row) {
    const Shot& shot = memory.shot;
    const Place x = place_of(position_at(shot.view, column, row)), y = place_of(position_at(shot.view + 3, column, row));
    const int reach_x = reach_of(shot.footprint[0], film.bilinear), reach_y = reach_of(shot.footprint[1], film.bilinear);
    const int left = x.base - reach_x + 1, top = y.base - reach_y + 1;
    std::int32_t sum = 0;
    if (2 * reach_x <= kBlockTaps && 2 * reach_y <= kBlockTaps) {
        const std::int16_t* weights = memory.weights[1][y.phase];
        for (int v = 0; v < 2 * reach_y; ++v) {
            sum += weights[v] * canvas.row_sum(clamp_index(top + v, canvas.height), left, 2 * reach_x,
                                               memory.weights[0][x.phase]);
        }
        return gray_of_sum(sum);
    }
    const Kernel along_x(shot.footprint[0], film.bilinear), along_y(shot.footprint[1], film.bilinear);
    const float factor_x = memory.factors[0][x.phase], factor_y = memory.factors[1][y.phase];
    float running_y = 0.0F;
    int before_y = 0;
    for (int v = 0; v < 2 * reach_y; ++v) {
        running_y += along_y.raw(v, y.phase);
        const int now_y = Kernel::edge(running_y, factor_y);
        const int weight = now_y - before_y;
        before_y = now_y;
        if (weight == 0) continue;
        float running_x = 0.0F;
        int before_x = 0;
        std::int32_t of_row = 0;
        for (int u = 0; u < 2 * reach_x; ++u) {
            running_x += along_x.raw(u, x.phase);
            const int now_x = Kernel::edge(running_x, factor_x);
            of_row += (now_x - before_x) *
                      canvas.gray(clamp_index(top + v, canvas.height), clamp_index(left + u, canvas.width));
            before_x = now_x;
        }
        sum += weight * of_row;
    }
    return gray_of_sum(sum);
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

// Passes over all pixels and hands what goes into a segment to take(row, column, gray, level).
template <class Threads, class Canvas, class Take>
ONEPFRAC_FN void each_pixel(Threads& threads, const Canvas& canvas, const Film& film, const PictureMemory& memory,
                            std::uint8_t* strips, int segment, Take&& take) {
    const int size = film.size, count = threads.count();
    if (segment == 0) {
        const int runs = (size + kRun - 1) / kRun;
        threads.each([&](int thread) {
            for (int run = thread; run < size * runs; run += count) {
                const int row = run / runs, begin = (run - row * runs) * kRun;
                const int end = begin + kRun < size ? begin + kRun : size;
                for (int column = begin; column < end; ++column) {
                    const int level = level_of(memory.shot, column, row);
                    take(row, column, level == 0 ? sample_gray(canvas, film, memory, column, row) : 0, level);
                }
            }
        });
        return;
    }
    const int rows = kStripRows - 2 * segment;  // rows of the picture that a strip finishes
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
                // The factor of the s-th sharpness step.
                float factor = 0.0F;
                int seen = 0;
                for (int k = 0; k < memory.shot.num_steps; ++k) {
                    if (memory.shot.steps[k] == Step::kSharpness && ++seen == s) factor = memory.shot.amounts[k];
                }
                for (int at = thread; at < (end_row - begin_row) * size; at += count) {
                    const int row = begin_row + at / size, column = at % size;
                    const int level = level_of(memory.shot, column, row);
                    int gray = 0;
                    if (s == 0) {
                        if (level == 0) gray = sample_gray(canvas, film, memory, column, row);
                    } else {
                        const std::uint8_t* here = from + static_cast<std::int64_t>(row - base) * size + column;
                        const bool border = row == 0 || row == size - 1 || column == 0 || column == size - 1;
                        gray = border ? *here : sharpened(here - size, here, here + size, factor);
                    }
                    if (s == segment) {
                        take(row, column, gray, level);
                    } else {
                        to[static_cast<std::int64_t>(row - base) * size + column] =
                            static_cast<std::uint8_t>(leaving(memory, s, gray, level));
                    }
                }
            });
        }
    }
}

template <class Threads, class Canvas>
ONEPFRAC_FN void count_block(Threads& threads, const Canvas& canvas, const Film& film, PictureMemory& memory,
                             std::uint8_t* strips, int segment) {
    threads.each([&](int thread) {
        for (int v = thread; v < 256; v += threads.count()) memory.histogram[v] = 0U;
        if (thread == 0) {
            for (int g = 0; g < kMaxWindows; ++g) memory.of_window[g] = 0U;
        }
    });
    const int merged = segment == 0 ? 0 : memory.passed[segment - 1];
    each_pixel(threads, canvas, film, memory, strips, segment, [&](int /*row*/, int /*column*/, int gray, int level) {
        Threads::atomic_add(level <= merged ? &memory.histogram[gray] : &memory.of_window[level - 1], 1U);
    });
}

// Develops a picture and writes it. `canvas` is what it is taken of.
template <class Threads, class Canvas>
ONEPFRAC_FN void develop_block(Threads& threads, const Canvas& canvas, const Film& film, std::int64_t image,
                               PictureMemory& memory, std::uint8_t* strips) {
    const int count = threads.count();
    int segment = 0, passed = 0;
    bool counted = false;
    for (int k = 0; k < memory.shot.num_steps; ++k) {
        const Step step = memory.shot.steps[k];
        const float amount = memory.shot.amounts[k];
        const int merged = segment == 0 ? 0 : memory.passed[segment - 1];
        if (step == Step::kWindow) {
            ++passed;
            threads.each([&](int thread) {
                if (thread == 0) {
                    memory.fill[segment][passed - 1] = static_cast<std::uint8_t>(amount);
                    memory.passed[segment] = passed;
                }
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
            if (!counted) count_block(threads, canvas, film, memory, strips, segment);
            counted = true;
            threads.each([&](int thread) {
                if (thread != 0) return;
                std::uint32_t now[256];
                for (std::uint32_t& bin : now) bin = 0U;
                for (int v = 0; v < 256; ++v) now[memory.table[segment][v]] += memory.histogram[v];
                for (int g = merged; g < passed; ++g) now[memory.fill[segment][g]] += memory.of_window[g];
                memory.statistics = statistics_of(step, now);
                if (step == Step::kEqualize) equalize_table(now, memory.of_step);
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
            if (thread == 0) {
                for (int g = merged; g < passed; ++g) memory.fill[segment][g] = toned_gray(memory.fill[segment][g]);
            }
        });
    }

    const auto write = [&](auto pixel) {
        using Pixel = decltype(pixel);
        const int size = film.size;
        const std::int64_t area = static_cast<std::int64_t>(size) * size;
        const std::int64_t pixel_step = film.channels_last ? film.channels : 1;
        const std::int64_t channel_step = film.channels_last ? 1 : area;
        Pixel* out = static_cast<Pixel*>(film.out) + image * area * film.channels;
        const auto* values = static_cast<const Pixel*>(film.table);
        const auto* noise = static_cast<const Pixel*>(film.noise);
        each_pixel(threads, canvas, film, memory, strips, segment, [&](int row, int column, int gray, int level) {
            const Shot& shot = memory.shot;
            const int down = row - shot.erased[0], across = column - shot.erased[1];
            const bool erased = down >= 0 && down < shot.erased[2] && across >= 0 && across < shot.erased[3];
            const int last = leaving(memory, segment, gray, level);
            Pixel* to = out + (static_cast<std::int64_t>(row) * size + column) * pixel_step;
            for (int c = 0; c < film.channels; ++c) {
                const int table_row = film.table_rows == 1 ? 0 : c;
                if (erased) {
                    const PhiloxBlock<ScalarLanes> block =
                        noise_block<ScalarLanes>(static_cast<std::uint32_t>(column / kNoisePerBlock), row, c,
                                                 RoundKeys<ScalarLanes>(shot.key));
                    const int at = column % kNoisePerBlock;
                    const std::uint32_t word = at < 4 ? (at < 2 ? block.word[0] : block.word[1])
                                                      : (at < 6 ? block.word[2] : block.word[3]);
                    to[c * channel_step] = noise[kNoiseLevels * table_row + noise_level(word, at % 2)];
                } else {
                    to[c * channel_step] = values[256 * table_row + last];
                }
            }
        });
    };
    switch (film.type) {
        case PixelType::kUint8:
            return write(std::uint8_t{});
        case PixelType::kFloat16:
        case PixelType::kBfloat16:
            return write(std::uint16_t{});
        default:
            return write(std::uint32_t{});
    }
}

// Loads a shot and makes its kernels.
template <class Threads>
ONEPFRAC_FN void load_shot_block(Threads& threads, const Shot* shot, const Film& film, PictureMemory& memory) {
    const int count = threads.count();
    threads.each([&](int thread) {
        const auto* from = reinterpret_cast<const std::uint32_t*>(shot);
        auto* to = reinterpret_cast<std::uint32_t*>(&memory.shot);
        for (int i = thread; i < kShotWords; i += count) to[i] = from[i];
        for (int v = thread; v < 256; v += count) memory.table[0][v] = static_cast<std::uint8_t>(v);
    });
    threads.each([&](int thread) {
        for (int at = thread; at < 2 * kPhases; at += count) {
            const int axis = at / kPhases, phase = at % kPhases;
            const Kernel kernel(memory.shot.footprint[axis], film.bilinear);
            if (kernel.taps() <= kBlockTaps) kernel.weights(phase, memory.weights[axis][phase]);
            memory.factors[axis][phase] = Kernel::factor_of(kernel.sum(phase));
        }
        if (thread == 0) {
            memory.passed[0] = 0;
            int window = 0;
            for (int k = 0; k < memory.shot.num_steps; ++k) {
                if (memory.shot.steps[k] == Step::kWindow) {
                    memory.coming[window++] = static_cast<std::uint8_t>(memory.shot.amounts[k]);
                }
            }
        }
    });
}

// A picture of a canvas that lies in memory.
template <class Threads>
ONEPFRAC_FN void take_picture_block(Threads& threads, const PictureJob& job, std::int64_t image, PictureMemory& memory) {
    auto* strips = reinterpret_cast<std::uint8_t*>(&memory + 1);
    load_shot_block(threads, job.shots + image, job.film, memory);
    const Canvases& canvases = job.canvases;
    const std::int64_t number = canvases.which == nullptr ? image : canvases.which[image];
    if (canvases.bits != nullptr) {
        const std::int64_t words = static_cast<std::int64_t>(canvases.height) * words_per_row(canvases.width);
        const BlockBits bits{canvases.bits + number * words, canvases.width, canvases.height};
        develop_block(threads, bits, job.film, image, memory, strips);
    } else {
        const std::int64_t pixels = static_cast<std::int64_t>(canvases.height) * canvases.width;
        const BlockGrays grays{canvases.grays + number * pixels, canvases.width, canvases.height};
        develop_block(threads, grays, job.film, image, memory, strips);
    }
}

// Rows that are brushed at a time: as many as give each of 256 threads four words.
ONEPFRAC_FN int brush_strip_rows(int size) {
    const int rows = (4 * static_cast<int>(kOrbits) + words_per_row(size) - 1) / words_per_row(size);
    return rows < size ? rows : size;
}

// Shared memory of a block that draws a canvas and takes its picture, in bytes: the picture's part first.
ONEPFRAC_FN std::int64_t drawn_picture_bytes(int canvas, int size) {
    const std::int64_t spare = static_cast<std::int64_t>(brush_strip_rows(canvas) + kBrushReach) * words_per_row(canvas);
    return picture_memory_bytes(size) + block_memory_bytes(canvas, canvas) + 4 * spare;
}

// A picture of a canvas that is drawn on the way, in the block's memory. The canvas is brushed in place: strip by strip
// from the bottom, each moved down by more rows than it has, since a brushed row depends on the three below it.
template <int kMaps, class Threads>
ONEPFRAC_FN void draw_picture_block(Threads& threads, const BlockJob& job, const Shot* shots, const Film& film,
                                    std::int64_t image, BlockMemory& memory, PictureMemory& picture) {
    const Band band(job, 0);
    draw_points_block<kMaps>(threads, job, image, band, memory);
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
    load_shot_block(threads, shots + image, film, picture);
    const BlockBits bits{words, job.size, job.size};
    develop_block(threads, bits, film, image, picture, reinterpret_cast<std::uint8_t*>(&picture + 1));
}

}  // namespace onepfrac
