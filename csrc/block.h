// The kernel: one image by a block of threads that share a canvas. Written in phases, each a loop over threads that
// ends in a barrier; inside a phase threads do not communicate except through atomics whose order cannot matter (min,
// max, or). The same body runs on the GPU (cuda/render.cu) and serially on the host (host_block.cpp), where the tests
// hold it against the CPU renderer.
//
// A canvas that does not fit the block's memory is cut into bands of rows, one block each: every band walks all orbits
// and inks its own rows.
//
// Threads provides: count(), each(f) which calls f(thread) for all threads and then waits for all, and atomic_min,
// atomic_max, atomic_or on words of the block's memory.
#pragma once

#include "canvas.h"
#include "chaos_game.h"
#include "pixels.h"

namespace onepfrac {

struct BlockJob {
    const System* systems;  // [batch]
    int num_maps;
    std::uint32_t points;  // an image
    int size;
    int pad;
    Brush brush;
    PixelType type;
    void* out;      // [batch, size, size], or [batch, size, words a row] for bits
    int band_rows;  // rows of the picture that a block draws
};

// Rows of points that a band's pixels may depend on, below its own: what the brush reaches.
inline constexpr int kBrushReach = 3;

// A block's shared memory, in words: the image's system, its bounds, a flag, and the rows of the canvas.
struct BlockMemory {
    System system;
    std::int32_t bounds[4];   // x_min, x_max, y_min, y_max as ordered integers
    std::uint32_t runs_away;  // whether any orbit ended at a point that is not finite
    std::uint32_t canvas[1];
};

ONEPFRAC_FN int band_canvas_rows(int size, int band_rows) {
    return band_rows + kBrushReach < size ? band_rows + kBrushReach : size;
}

ONEPFRAC_FN std::int64_t block_memory_bytes(int size, int band_rows) {
    const std::int64_t words = static_cast<std::int64_t>(band_canvas_rows(size, band_rows)) * words_per_row(size);
    return static_cast<std::int64_t>(sizeof(BlockMemory)) + 4 * words;
}

// How a canvas is cut for blocks with `limit` bytes of shared memory each.
struct BlockLayout {
    int band_rows, bands;
    std::int64_t bytes;  // of a block
};

inline BlockLayout block_layout(int size, std::int64_t limit) {
    const std::int64_t rows = (limit - block_memory_bytes(0, 0)) / (4 * words_per_row(size));
    const int band_rows = rows >= size ? size : static_cast<int>(rows) - kBrushReach;
    return {band_rows, (size + band_rows - 1) / band_rows, block_memory_bytes(size, band_rows)};
}

// Floats as integers of the same order, so that integer min and max serve; finite floats only.
ONEPFRAC_FN std::int32_t bits_of(float v) {
#if defined(__CUDA_ARCH__)
    return __float_as_int(v);
#else
    return __builtin_bit_cast(std::int32_t, v);
#endif
}
ONEPFRAC_FN float float_of(std::int32_t bits) {
#if defined(__CUDA_ARCH__)
    return __int_as_float(bits);
#else
    return __builtin_bit_cast(float, bits);
#endif
}
ONEPFRAC_FN std::int32_t ordered(float v) {
    const std::int32_t bits = bits_of(v);
    return bits >= 0 ? bits : bits ^ 0x7FFFFFFF;
}
ONEPFRAC_FN float from_ordered(std::int32_t bits) {
    return float_of(bits >= 0 ? bits : bits ^ 0x7FFFFFFF);
}

template <int kMaps, bool kChecked, class Threads>
ONEPFRAC_FN Point<float> orbit_bounds(const BlockJob& job, BlockMemory& memory, std::uint32_t orbit) {
    float x_min = kFloatMax, x_max = -kFloatMax, y_min = kFloatMax, y_max = -kFloatMax;
    const std::uint32_t points = points_of_orbit(job.points, orbit);
    const Point<float> last =
        walk_orbit<kMaps, kChecked>(memory.system, job.num_maps, orbit, points, Purpose::kOrbit, [&](Point<float> p) {
            x_min = ScalarLanes::min(p.x, x_min);
            x_max = ScalarLanes::max(p.x, x_max);
            y_min = ScalarLanes::min(p.y, y_min);
            y_max = ScalarLanes::max(p.y, y_max);
        });
    if (kChecked || is_finite(last)) {
        if (x_min <= x_max) {
            Threads::atomic_min(&memory.bounds[0], ordered(x_min));
            Threads::atomic_max(&memory.bounds[1], ordered(x_max));
            Threads::atomic_min(&memory.bounds[2], ordered(y_min));
            Threads::atomic_max(&memory.bounds[3], ordered(y_max));
        }
    }
    return last;
}

// What a point does to the block's canvas: it sets a bit here, and adds to a count in density.h.
struct BitCells {
    static ONEPFRAC_FN int stride(int size) { return words_per_row(size); }
    template <class Threads>
    static ONEPFRAC_FN void add(std::uint32_t* row, int px) {
        Threads::atomic_or(&row[px >> 5], 1U << (px & 31));
    }
};

// With kAll every point is known to lie on the rows that the block holds: there is a margin, and the canvas is whole.
template <int kMaps, bool kChecked, bool kAll, class Cells, class Threads>
ONEPFRAC_FN void ink_orbit(const BlockJob& job, BlockMemory& memory, std::uint32_t orbit, const Axis& x, const Axis& y,
                           int first_row, int rows) {
    const std::uint32_t points = points_of_orbit(job.points, orbit);
    const int stride = Cells::stride(job.size);
    const int size = job.size;
    const int bottom = size - 1 - first_row;  // the row of py = 0
    walk_orbit<kMaps, kChecked>(memory.system, job.num_maps, orbit, points, Purpose::kOrbit, [&](Point<float> p) {
        const int px = to_pixel(x, p.x);
        const int row = bottom - to_pixel(y, p.y);
        if (kAll || (px < size && static_cast<std::uint32_t>(row) < static_cast<std::uint32_t>(rows))) {
            Cells::template add<Threads>(&memory.canvas[row * stride], px);
        }
    });
}

// 32 pixels of a row, or as many as are left of it; in pieces of 16 bytes where the row allows.
template <class Pixel>
ONEPFRAC_FN void write_word(Pixel* out, std::uint32_t word, int columns, std::uint32_t ink, bool aligned) {
    constexpr int kPerPiece = 16 / static_cast<int>(sizeof(Pixel));
    constexpr int kPerWord = 4 / static_cast<int>(sizeof(Pixel));
    if (aligned && columns >= 32) {
        for (int piece = 0; piece < 32 / kPerPiece; ++piece) {
            struct alignas(16) Quad {
                std::uint32_t part[4];
            } quad;
            for (int q = 0; q < 4; ++q) {
                std::uint32_t value = 0;
                for (int i = 0; i < kPerWord; ++i) {
                    const int bit = piece * kPerPiece + q * kPerWord + i;
                    value |= ((word >> bit) & 1U) * ink << (8 * static_cast<int>(sizeof(Pixel)) * i);
                }
                quad.part[q] = value;
            }
            *reinterpret_cast<Quad*>(out + piece * kPerPiece) = quad;
        }
        return;
    }
    for (int i = 0; i < (columns < 32 ? columns : 32); ++i) out[i] = static_cast<Pixel>(((word >> i) & 1U) * ink);
}

// Word j of a row, in whatever type; `row` counts through all pictures.
ONEPFRAC_FN void write_columns(void* out, PixelType type, int size, std::int64_t row, int j, std::uint32_t word,
                               std::uint32_t ink, bool aligned) {
    const std::int64_t pixel = row * size + 32 * j;
    const int columns = size - 32 * j;
    switch (type) {
        case PixelType::kUint8:
            return write_word(static_cast<std::uint8_t*>(out) + pixel, word, columns, ink, aligned);
        case PixelType::kFloat16:
        case PixelType::kBfloat16:
            return write_word(static_cast<std::uint16_t*>(out) + pixel, word, columns, ink, aligned);
        case PixelType::kFloat32:
            return write_word(static_cast<std::uint32_t*>(out) + pixel, word, columns, ink, aligned);
        case PixelType::kBits:
            static_cast<std::uint32_t*>(out)[row * words_per_row(size) + j] = word;
    }
}

ONEPFRAC_FN bool rows_are_aligned(const void* out, int size) {
    return size % 32 == 0 && reinterpret_cast<std::uintptr_t>(out) % 16 == 0;
}

// The block of one picture expands its canvas: one phase, a loop over words.
template <class Threads>
ONEPFRAC_FN void expand_block(Threads& threads, const ExpandJob& job, std::int64_t image) {
    const int count = threads.count();
    threads.each([&](int thread) {
        const int stride = words_per_row(job.size);
        const std::uint32_t* canvas = job.canvases + job.which[image] * job.size * stride;
        const std::uint32_t ink = ink_bits(job.type);
        const bool aligned = rows_are_aligned(job.out, job.size);
        for (int at = thread; at < job.size * stride; at += count) {
            const int row = at / stride;
            const int j = at - row * stride;
            write_columns(job.out, job.type, job.size, image * job.size + row, j, canvas[at], ink, aligned);
        }
    });
}

// The rows of the picture that a block draws, and how many rows of points they depend on.
struct Band {
    int first_row, end_row, rows;

    ONEPFRAC_FN Band(const BlockJob& job, int band)
        : first_row(band * job.band_rows),
          end_row(first_row + job.band_rows < job.size ? first_row + job.band_rows : job.size),
          rows(end_row + kBrushReach < job.size ? job.band_rows + kBrushReach : job.size - first_row) {}
};

// The three phases of drawing points. The first: load the system, clear the canvas.
template <class Cells, class Threads>
ONEPFRAC_FN void clear_block(Threads& threads, const BlockJob& job, std::int64_t image, int rows, BlockMemory& memory) {
    const int stride = Cells::stride(job.size);
    const int count = threads.count();
    threads.each([&](int thread) {
        const auto* from = reinterpret_cast<const std::uint32_t*>(job.systems + image);
        auto* to = reinterpret_cast<std::uint32_t*>(&memory.system);
        for (int i = thread; i < kSystemWords; i += count) to[i] = from[i];
        for (int i = thread; i < rows * stride; i += count) memory.canvas[i] = 0U;
        if (thread == 0) {
            memory.bounds[0] = memory.bounds[2] = ordered(kFloatMax);
            memory.bounds[1] = memory.bounds[3] = ordered(-kFloatMax);
            memory.runs_away = 0U;
        }
    });
}

// Bounds. An orbit that turns out to run away is walked again with a check a point.
template <int kMaps, class Threads>
ONEPFRAC_FN void bound_block(Threads& threads, const BlockJob& job, BlockMemory& memory) {
    const int count = threads.count();
    threads.each([&](int thread) {
        for (std::uint32_t orbit = static_cast<std::uint32_t>(thread); orbit < kOrbits;
             orbit += static_cast<std::uint32_t>(count)) {
            const Point<float> last = orbit_bounds<kMaps, false, Threads>(job, memory, orbit);
            if (!is_finite(last)) {
                Threads::atomic_or(&memory.runs_away, 1U);
                orbit_bounds<0, true, Threads>(job, memory, orbit);
            }
        }
    });
}

template <int kMaps, class Cells, class Threads>
ONEPFRAC_FN void ink_block(Threads& threads, const BlockJob& job, int first_row, int rows, BlockMemory& memory) {
    const int count = threads.count();
    threads.each([&](int thread) {
        const Axis x = make_axis(from_ordered(memory.bounds[0]), from_ordered(memory.bounds[1]), job.size, job.pad);
        const Axis y = make_axis(from_ordered(memory.bounds[2]), from_ordered(memory.bounds[3]), job.size, job.pad);
        for (std::uint32_t orbit = static_cast<std::uint32_t>(thread); orbit < kOrbits;
             orbit += static_cast<std::uint32_t>(count)) {
            if (memory.runs_away != 0U) {
                ink_orbit<0, true, false, Cells, Threads>(job, memory, orbit, x, y, first_row, rows);
            } else if (job.pad > 0 && rows == job.size) {
                ink_orbit<kMaps, false, true, Cells, Threads>(job, memory, orbit, x, y, first_row, rows);
            } else {
                ink_orbit<kMaps, false, false, Cells, Threads>(job, memory, orbit, x, y, first_row, rows);
            }
        }
    });
}

// Chaos game, bounds and ink: leaves the points of a band in the block's canvas.
template <int kMaps, class Cells, class Threads>
ONEPFRAC_FN void draw_points_block(Threads& threads, const BlockJob& job, std::int64_t image, const Band& band,
                                   BlockMemory& memory) {
    clear_block<Cells>(threads, job, image, band.rows, memory);
    bound_block<kMaps>(threads, job, memory);
    ink_block<kMaps, Cells>(threads, job, band.first_row, band.rows, memory);
}

// One thread's share of the brushed words of the rows from `begin` to `end`, after a canvas that holds the points of
// the rows from `band.first_row` on: calls write(row, j, word). A thread takes four words at a time, those that share a
// block of texture.
template <class Write>
ONEPFRAC_FN void brush_rows(const BlockJob& job, const BlockMemory& memory, const Band& band, int begin, int end,
                            int thread, int count, Write&& write) {
    const int stride = words_per_row(job.size);
    const std::uint32_t mask = brush_mask(job.brush, memory.system.key);
    const RoundKeys<ScalarLanes> keys(memory.system.key);
    const int first_word = begin * stride;
    const int end_word = end * stride;
    for (int quad = first_word / 4 + thread; 4 * quad < end_word; quad += count) {
        PhiloxBlock<ScalarLanes> texture{};
        if (job.brush == Brush::kPatch) texture = texture_words<ScalarLanes>(static_cast<std::uint32_t>(quad), keys);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
        for (int q = 0; q < 4; ++q) {
            const int at = 4 * quad + q;
            if (at < first_word || at >= end_word) continue;
            const int row = at / stride;
            const int j = at - row * stride;
            std::uint32_t word = memory.canvas[at - band.first_row * stride];
            if (job.brush != Brush::kPoint) {
                word = brushed_word(memory.canvas, stride, band.first_row, band.first_row + band.rows, row, j, mask);
                if (job.brush == Brush::kPatch) word &= texture.word[q];
            }
            write(row, j, word);
        }
    }
}

template <int kMaps, class Threads>
ONEPFRAC_FN void render_block(Threads& threads, const BlockJob& job, std::int64_t image, int number,
                              BlockMemory& memory) {
    const Band band(job, number);
    draw_points_block<kMaps, BitCells>(threads, job, image, band, memory);
    threads.each([&](int thread) {
        const std::uint32_t ink = ink_bits(job.type);
        const bool aligned = rows_are_aligned(job.out, job.size);
        brush_rows(job, memory, band, band.first_row, band.end_row, thread, threads.count(),
                   [&](int row, int j, std::uint32_t word) {
                       write_columns(job.out, job.type, job.size, image * job.size + row, j, word, ink, aligned);
                   });
    });
}

}  // namespace onepfrac
