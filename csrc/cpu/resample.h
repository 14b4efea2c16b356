// The first half of a picture on the CPU: from a canvas through a view to a frame of 8-bit grays.
//
// Views that keep the axes apart (crops, flips, shifts: most of them) are resampled rows first, then columns, sixteen
// rows of the picture at a time. Other views are sampled pixel by pixel; of a canvas in bits, the weighted sum of a
// row's taps is read from tables, six pixels a look.
//
// L is the set of lanes that a file is compiled for: it makes every function one of its own instruction set.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../camera.h"
#include "arena.h"
#include "interrupt.h"

namespace onepfrac {

// One canvas; `bits` or `grays`.
struct Canvas {
    const std::uint32_t* bits;
    const std::uint8_t* grays;
    int width, height;

    int stride() const { return words_per_row(width); }
};

// A frame's rows and columns are padded to whole groups of this many.
inline constexpr int kGroup = 16;

inline int padded(int size) {
    return (size + kGroup - 1) / kGroup * kGroup;
}

inline std::uint8_t* frame_row(std::uint8_t* frame, int size, int row) {
    return frame + static_cast<std::ptrdiff_t>(row) * padded(size);
}

// Weights of all phases, [phase][tap].
struct Weights {
    const std::int16_t* values;
    int reach, taps;

    const std::int16_t* of(int phase) const { return values + phase * taps; }
};

template <class L>
Weights make_weights(float footprint, bool bilinear, Arena& arena) {
    const Kernel kernel(footprint, bilinear);
    const int taps = kernel.taps();
    auto* values = arena.take<std::int16_t>(static_cast<std::size_t>(kPhases) * static_cast<std::size_t>(taps));
    const Arena::Mark mark(arena);
    // Phases side by side, so that the loops below go over lanes; the operations are those of Kernel::weights.
    constexpr auto kAll = static_cast<std::size_t>(kPhases);
    float* raw = arena.take<float>(kAll * static_cast<std::size_t>(taps));
    float total[kAll] = {};
    for (int tap = 0; tap < taps; ++tap) {
        float* out = raw + tap * kPhases;
        for (int phase = 0; phase < kPhases; ++phase) out[phase] = kernel.raw(tap, phase);
        for (int phase = 0; phase < kPhases; ++phase) total[phase] += out[phase];
    }
    float running[kAll] = {};
    std::int32_t before[kAll] = {};
    for (float& t : total) t = Kernel::factor_of(t);
    for (int tap = 0; tap < taps; ++tap) {
        const float* in = raw + tap * kPhases;
        std::int32_t now[kAll];
        for (std::size_t phase = 0; phase < kAll; ++phase) {
            running[phase] += in[phase];
            now[phase] = Kernel::edge(running[phase], total[phase]);
        }
        for (std::size_t phase = 0; phase < kAll; ++phase) {
            values[static_cast<int>(phase) * taps + tap] = static_cast<std::int16_t>(now[phase] - before[phase]);
            before[phase] = now[phase];
        }
    }
    return {values, kernel.reach, taps};
}

// The taps of each column, or row, of a picture whose axes are apart: `count` weights from source index `first` on.
// Taps off the canvas are added to its edge.
struct AxisTaps {
    int length;  // weights an output, zeros at the end where fewer are used; even
    const std::int32_t* first;
    const std::int16_t* weights;  // [outputs][length]
    int begin, end;               // source indices that are used
};

template <class L>
AxisTaps make_axis_taps(const std::int64_t step, const std::int64_t start, int outputs, int source,
                        const Weights& weights, bool even_first, Arena& arena) {
    AxisTaps axis{};
    axis.length = (weights.taps + 1 + (even_first ? 1 : 0)) / 2 * 2;
    const auto length = static_cast<std::size_t>(axis.length), count = static_cast<std::size_t>(outputs);
    auto* first = arena.take<std::int32_t>(count);
    auto* out = arena.take<std::int16_t>(count * length);
    std::memset(out, 0, count * length * sizeof(std::int16_t));
    axis.begin = source;
    axis.end = 0;
    for (int i = 0; i < outputs; ++i) {
        const Place place = place_of(step * i + start);
        const std::int16_t* of = weights.of(place.phase);
        const int begin = place.base - weights.reach + 1, end = begin + weights.taps;
        const int low = clamp_index(begin, source);
        const int from = even_first ? low & ~1 : low;
        std::int16_t* to = out + static_cast<std::size_t>(i) * length;
        first[i] = from;
        if (begin >= 0 && end <= source) {
            std::memcpy(to + (begin - from), of, static_cast<std::size_t>(weights.taps) * sizeof(std::int16_t));
        } else {
            for (int tap = 0; tap < weights.taps; ++tap) {
                std::int16_t& weight = to[clamp_index(begin + tap, source) - from];
                weight = static_cast<std::int16_t>(weight + of[tap]);
            }
        }
        axis.begin = std::min(axis.begin, from);
        axis.end = std::max(axis.end, std::min(from + axis.length, source));
    }
    axis.first = first;
    axis.weights = out;
    return axis;
}

// Grays to a frame whose axes are apart.
template <class L>
void resample_grays(const std::uint8_t* grays, int width, int height, const AxisTaps& columns, const AxisTaps& rows,
                    int size, std::uint8_t* frame, Arena& arena, Pace& pace) {
    const Arena::Mark mark(arena);
    const int used = columns.end - columns.begin;
    // Sums over rows, [column][row of the group]: the sums over columns go over the rows of the group as lanes.
    const std::size_t room = static_cast<std::size_t>(used + columns.length) * kGroup;
    auto* sums = arena.take<std::int32_t>(room);
    std::memset(sums, 0, room * sizeof(std::int32_t));
    auto* row_sums = arena.take<std::int32_t>(static_cast<std::size_t>(used));
    const int stride = padded(size);
    for (int top = 0; top < size; top += kGroup) {
        const int count = std::min(kGroup, size - top);
        for (int r = 0; r < count; ++r) {
            const int first = rows.first[top + r];
            const std::int16_t* weights = rows.weights + static_cast<std::ptrdiff_t>(top + r) * rows.length;
            std::memset(row_sums, 0, static_cast<std::size_t>(used) * sizeof(std::int32_t));
            for (int tap = 0; tap < std::min(rows.length, height - first); ++tap) {
                const std::int32_t weight = weights[tap];
                if (weight == 0) continue;
                const std::uint8_t* from = grays + static_cast<std::ptrdiff_t>(first + tap) * width + columns.begin;
                for (int c = 0; c < used; ++c) row_sums[c] += weight * from[c];
            }
            for (int c = 0; c < used; ++c) sums[c * kGroup + r] = row_sums[c];
        }
        for (int i = 0; i < size; ++i) {
            const std::int16_t* weights = columns.weights + static_cast<std::ptrdiff_t>(i) * columns.length;
            const std::int32_t* from = sums + (columns.first[i] - columns.begin) * kGroup;
            std::int32_t total[kGroup] = {};
            for (int tap = 0; tap < columns.length; ++tap) {
                const std::int32_t weight = weights[tap];
                for (int r = 0; r < kGroup; ++r) total[r] += weight * from[tap * kGroup + r];
            }
            for (int r = 0; r < count; ++r) {
                frame[static_cast<std::ptrdiff_t>(top + r) * stride + i] =
                    static_cast<std::uint8_t>(gray_of_sum(total[r]));
            }
        }
        pace.after(static_cast<std::int64_t>(rows.length) * used + static_cast<std::int64_t>(columns.length) * size);
    }
}

template <class L>
std::uint8_t* expanded(const Canvas& canvas, Arena& arena) {
    const std::size_t count = static_cast<std::size_t>(canvas.width) * static_cast<std::size_t>(canvas.height);
    auto* grays = arena.take<std::uint8_t>(count);
    for (int row = 0; row < canvas.height; ++row) {
        const std::uint32_t* words = canvas.bits + static_cast<std::ptrdiff_t>(row) * canvas.stride();
        std::uint8_t* out = grays + static_cast<std::ptrdiff_t>(row) * canvas.width;
        for (int c = 0; c < canvas.width; ++c) {
            out[c] = static_cast<std::uint8_t>(((words[c >> 5] >> (c & 31)) & 1U) * static_cast<unsigned>(kInkGray));
        }
    }
    return grays;
}

struct Span {
    int begin, end;
};

inline std::int64_t floor_divide(std::int64_t a, std::int64_t b) {  // b > 0
    const std::int64_t quotient = a / b;
    return quotient - (a % b < 0 ? 1 : 0);
}

// The columns of a row that lie on a window's frame: is_inside() of one row.
template <class L>
Span inside_of(const std::int64_t* window, int row, int size) {
    std::int64_t begin = 0, end = size;
    for (int axis = 0; axis < 2; ++axis) {
        const std::int64_t* line = window + 3 * axis;
        const std::int64_t step = line[0], start = line[1] * row + line[2];
        if (step == 0) {
            if (start < 0 || start >= kFixedOne) end = 0;
        } else if (step > 0) {
            begin = std::max(begin, -floor_divide(start, step));
            end = std::min(end, -floor_divide(start - kFixedOne, step));
        } else {
            begin = std::max(begin, floor_divide(start - kFixedOne, -step) + 1);
            end = std::min(end, floor_divide(start, -step) + 1);
        }
    }
    if (begin >= end) return {0, 0};
    return {static_cast<int>(begin), static_cast<int>(end)};
}

// Pixel by pixel, from grays.
template <class L>
void sample_grays(const Canvas& canvas, const Shot& shot, const Weights& wx, const Weights& wy, int row, Span columns,
                  std::uint8_t* out, Pace& pace) {
    for (int i = columns.begin; i < columns.end; ++i) {
        const Place x = place_of(position_at(shot.view, i, row)), y = place_of(position_at(shot.view + 3, i, row));
        const std::int16_t *weights_x = wx.of(x.phase), *weights_y = wy.of(y.phase);
        const int left = x.base - wx.reach + 1, top = y.base - wy.reach + 1;
        const bool whole = left >= 0 && left + wx.taps <= canvas.width;
        std::int32_t sum = 0;
        for (int v = 0; v < wy.taps; ++v) {
            const std::uint8_t* from =
                canvas.grays + static_cast<std::ptrdiff_t>(clamp_index(top + v, canvas.height)) * canvas.width;
            std::int32_t of_row = 0;
            if (whole) {
                for (int u = 0; u < wx.taps; ++u) of_row += weights_x[u] * from[left + u];
            } else {
                for (int u = 0; u < wx.taps; ++u) of_row += weights_x[u] * from[clamp_index(left + u, canvas.width)];
            }
            sum += weights_y[v] * of_row;
        }
        out[i] = static_cast<std::uint8_t>(gray_of_sum(sum));
        pace.after(static_cast<std::int64_t>(wx.taps) * wy.taps);
    }
}

// The weighted sums of up to six neighbouring bits: [chunk of six taps][phase][bits].
inline constexpr int kChunkTaps = 6;
inline constexpr int kMaxChunks = 32;

struct BitTables {
    const std::int16_t* sums;
    int chunks;
};

template <class L>
BitTables make_bit_tables(const Weights& weights, Arena& arena) {
    constexpr int kEntries = 1 << kChunkTaps;
    const int chunks = (weights.taps + kChunkTaps - 1) / kChunkTaps;
    auto* sums = arena.take<std::int16_t>(static_cast<std::size_t>(chunks) * kPhases * kEntries);
    for (int chunk = 0; chunk < chunks; ++chunk) {
        for (int phase = 0; phase < kPhases; ++phase) {
            const std::int16_t* of = weights.of(phase) + chunk * kChunkTaps;
            const int taps = std::min(kChunkTaps, weights.taps - chunk * kChunkTaps);
            std::int16_t* table = sums + (chunk * kPhases + phase) * kEntries;
            table[0] = 0;
            for (int tap = 0; tap < kChunkTaps; ++tap) {  // doubled tap by tap
                const std::int16_t weight = tap < taps ? of[tap] : std::int16_t{0};
                for (int i = 0; i < 1 << tap; ++i) table[(1 << tap) + i] = static_cast<std::int16_t>(table[i] + weight);
            }
        }
    }
    return {sums, chunks};
}

inline std::uint64_t load_bits(const std::uint8_t* row, int bit) {  // 57 bits or more from `bit` on
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t word = 0;
    std::memcpy(&word, row + (bit >> 3), sizeof word);
    return word >> (bit & 7);
}

// The weighted sum of bits at a place whose taps are not all on the canvas.
template <class L>
std::int32_t sum_at_edge(const Canvas& canvas, const Weights& wx, const Weights& wy, Place x, Place y) {
    const std::int16_t *weights_x = wx.of(x.phase), *weights_y = wy.of(y.phase);
    std::int32_t sum = 0;
    for (int v = 0; v < wy.taps; ++v) {
        const int row = clamp_index(y.base - wy.reach + 1 + v, canvas.height);
        const std::uint32_t* from = canvas.bits + static_cast<std::ptrdiff_t>(row) * canvas.stride();
        std::int32_t of_row = 0;
        for (int u = 0; u < wx.taps; ++u) {
            const int c = clamp_index(x.base - wx.reach + 1 + u, canvas.width);
            of_row += static_cast<std::int32_t>((from[c >> 5] >> (c & 31)) & 1U) * weights_x[u];
        }
        sum += weights_y[v] * of_row;
    }
    return sum;
}

// Pixel by pixel, from bits; 8 bytes can be read beyond the last row.
template <class L, int kChunks>  // 0: any number of chunks
void sample_bits(const Canvas& canvas, const Shot& shot, const Weights& wx, const Weights& wy, const BitTables& tables,
                 int row, Span columns, std::uint8_t* out, Pace& pace) {
    constexpr int kEntries = 1 << kChunkTaps;
    const int chunks = kChunks == 0 ? tables.chunks : kChunks;
    const std::ptrdiff_t stride = 4 * static_cast<std::ptrdiff_t>(canvas.stride());
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(canvas.bits);
    std::int64_t x_at = position_at(shot.view, columns.begin, row);
    std::int64_t y_at = position_at(shot.view + 3, columns.begin, row);
    for (int i = columns.begin; i < columns.end; ++i, x_at += shot.view[0], y_at += shot.view[3]) {
        const Place x = place_of(x_at), y = place_of(y_at);
        const std::int16_t* weights_y = wy.of(y.phase);
        const int left = x.base - wx.reach + 1, top = y.base - wy.reach + 1;
        std::int32_t sum = 0;
        if (left >= 0 && left + wx.taps <= canvas.width && top >= 0 && top + wy.taps <= canvas.height) {
            const std::int16_t* table = tables.sums + x.phase * kEntries;
            const std::uint8_t* from = bytes + top * stride;
            for (int v = 0; v < wy.taps; ++v, from += stride) {
                std::int32_t of_row = 0;
                if constexpr (kChunks > 0) {
                    const std::uint64_t word = load_bits(from, left);
                    for (int chunk = 0; chunk < kChunks; ++chunk) {
                        of_row += table[chunk * kPhases * kEntries + ((word >> (kChunkTaps * chunk)) & (kEntries - 1))];
                    }
                } else {
                    for (int chunk = 0; chunk < chunks; ++chunk) {
                        const std::uint64_t word = load_bits(from, left + kChunkTaps * chunk);
                        of_row += table[chunk * kPhases * kEntries + (word & (kEntries - 1))];
                    }
                }
                sum += weights_y[v] * of_row;
            }
        } else {
            sum = sum_at_edge<L>(canvas, wx, wy, x, y);
        }
        out[i] = static_cast<std::uint8_t>(gray_of_sum(kInkGray * sum));
        pace.after(static_cast<std::int64_t>(wx.taps) * wy.taps);
    }
}

// Calls sample(row, columns) for the pixels of each row that lie on the frames of all windows.
template <class L, class Sample>
void each_row(const Shot& shot, int size, Sample&& sample) {
    for (int row = 0; row < size; ++row) {
        Span columns{0, size};
        for (int g = 0; g < shot.num_windows; ++g) {
            const Span inside = inside_of<L>(shot.windows[g], row, size);
            columns.begin = std::max(columns.begin, inside.begin);
            columns.end = std::min(columns.end, inside.end);
        }
        if (columns.begin < columns.end) sample(row, columns);
    }
}

// How canvases in bits are resampled where an instruction set has nothing better.
template <class L>
struct PlainBits {
    // Axes apart.
    static void resample(const Canvas& canvas, const AxisTaps& columns, const AxisTaps& rows, int size,
                         std::uint8_t* frame, Arena& arena, Pace& pace) {
        const Arena::Mark mark(arena);
        const std::uint8_t* grays = expanded<L>(canvas, arena);
        resample_grays<L>(grays, canvas.width, canvas.height, columns, rows, size, frame, arena, pace);
    }

    // Pixel by pixel; 8 bytes can be read beyond the canvas.
    static void sample(const Canvas& canvas, const Shot& shot, const Weights& wx, const Weights& wy, int size,
                       std::uint8_t* frame, Arena& arena, Pace& pace) {
        const int chunks = (wx.taps + kChunkTaps - 1) / kChunkTaps;
        if (chunks > kMaxChunks) {
            const Canvas grays{nullptr, expanded<L>(canvas, arena), canvas.width, canvas.height};
            each_row<L>(shot, size, [&](int row, Span columns) {
                sample_grays<L>(grays, shot, wx, wy, row, columns, frame_row(frame, size, row), pace);
            });
            return;
        }
        const BitTables tables = make_bit_tables<L>(wx, arena);
        each_row<L>(shot, size, [&](int row, Span columns) {
            std::uint8_t* out = frame_row(frame, size, row);
            if (chunks == 1) {
                sample_bits<L, 1>(canvas, shot, wx, wy, tables, row, columns, out, pace);
            } else if (chunks == 2) {
                sample_bits<L, 2>(canvas, shot, wx, wy, tables, row, columns, out, pace);
            } else {
                sample_bits<L, 0>(canvas, shot, wx, wy, tables, row, columns, out, pace);
            }
        });
    }
};

// The frame: [padded(size)][padded(size)], of which size x size are filled. Pixels outside of any window are 0 or
// sampled. Bits is PlainBits or its like.
template <class L, class Bits>
void resample(const Canvas& canvas, const Shot& shot, const Film& film, std::uint8_t* frame, Arena& arena, Pace& pace) {
    const Arena::Mark mark(arena);
    const int size = film.size;
    const Weights wx = make_weights<L>(shot.footprint[0], film.bilinear, arena);
    const Weights wy =
        shot.footprint[0] == shot.footprint[1] ? wx : make_weights<L>(shot.footprint[1], film.bilinear, arena);
    // What lies off a window is looked up, too, before it gets the window's gray.
    const auto side = static_cast<std::size_t>(padded(size));
    if (shot.num_windows > 0) std::memset(frame, 0, side * side);
    if (shot.view[1] == 0 && shot.view[3] == 0) {
        const bool pairs = canvas.bits != nullptr;
        const AxisTaps columns = make_axis_taps<L>(shot.view[0], shot.view[2], size, canvas.width, wx, pairs, arena);
        const AxisTaps rows = make_axis_taps<L>(shot.view[4], shot.view[5], size, canvas.height, wy, false, arena);
        if (canvas.bits == nullptr) {
            resample_grays<L>(canvas.grays, canvas.width, canvas.height, columns, rows, size, frame, arena, pace);
        } else {
            Bits::resample(canvas, columns, rows, size, frame, arena, pace);
        }
    } else if (canvas.bits == nullptr) {
        each_row<L>(shot, size, [&](int row, Span columns) {
            sample_grays<L>(canvas, shot, wx, wy, row, columns, frame_row(frame, size, row), pace);
        });
    } else {
        const std::size_t words = static_cast<std::size_t>(canvas.height) * static_cast<std::size_t>(canvas.stride());
        auto* copy = arena.take<std::uint32_t>(words + 2);
        std::memcpy(copy, canvas.bits, words * sizeof(std::uint32_t));
        copy[words] = copy[words + 1] = 0U;
        Bits::sample({copy, nullptr, canvas.width, canvas.height}, shot, wx, wy, size, frame, arena, pace);
    }
}

}  // namespace onepfrac
