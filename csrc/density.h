// Hits: how many of a picture's points ink each pixel. The chaos game, its orbits, bounds and pixels are those of
// block.h; a point adds to a count where it sets a bit there. A brush adds one to each pixel that it covers, so that
// the hits of a pixel are a sum of counts: integers, whose order is free.
//
// Grades are hits on a scale of 255: 0 where nothing fell, else max(1, floor(255 hits / most hits of the picture))
// (Anderson and Farrell, "Improving fractal pre-training", WACV 2022, section 3.2, in integers).
//
// Blocks count in shared memory, 32 bits a pixel, in bands of rows where a picture exceeds it. Grades need the most
// hits of the whole picture: there one block takes all bands in turn, twice where there are several.
#pragma once

#include "block.h"

namespace onepfrac {

struct DensityJob {
    BlockJob points;  // its `type` and `out` are not used; `brush` is not kPatch, whose texture belongs to bits
    bool graded;
    std::int32_t* hits;    // [batch, size, size] where not graded
    std::uint8_t* grades;  // [batch, size, size] where graded
};

struct DensityMemory {
    std::uint32_t most;  // hits of a pixel, of those seen so far
    std::uint32_t unused[3];
    BlockMemory block;
};

struct CountCells {
    static ONEPFRAC_FN int stride(int size) { return size; }
    template <class Threads>
    static ONEPFRAC_FN void add(std::uint32_t* row, int px) {
        Threads::atomic_add(&row[px], 1U);
    }
};

ONEPFRAC_FN std::int64_t density_memory_bytes(int size, int band_rows) {
    return static_cast<std::int64_t>(sizeof(DensityMemory)) +
           4 * static_cast<std::int64_t>(band_canvas_rows(size, band_rows)) * size;
}

inline BlockLayout density_layout(int size, std::int64_t limit) {
    const std::int64_t rows = (limit - density_memory_bytes(0, 0)) / (4 * size);
    const int band_rows = rows >= size ? size : static_cast<int>(rows) - kBrushReach;
    return {band_rows, (size + band_rows - 1) / band_rows, density_memory_bytes(size, band_rows)};
}

ONEPFRAC_FN std::uint8_t grade(std::uint32_t hits, std::uint32_t most) {
    if (hits == 0U) return 0U;
    const std::uint32_t floored = most <= 0xFFFFFFFFU / 255U
                                      ? 255U * hits / most
                                      : static_cast<std::uint32_t>(255U * static_cast<std::uint64_t>(hits) / most);
    return static_cast<std::uint8_t>(floored > 0U ? floored : 1U);
}

// The hits of a pixel: the counts under the mask's bits. `counts` points at picture row `first_row` and holds rows up
// to `end_row`; a point covers columns to its right and the rows above its own, as brushed_word has it.
ONEPFRAC_FN std::uint32_t hits_of_pixel(const std::uint32_t* counts, int size, int first_row, int end_row, int row,
                                        int column, Brush brush, std::uint32_t mask) {
    const std::uint32_t* at = counts + static_cast<std::int64_t>(row - first_row) * size + column;
    if (brush == Brush::kPoint) return *at;
    std::uint32_t hits = 0;
    for (int dy = 1; dy <= 3; ++dy) {
        if (row + dy >= end_row) break;
        for (int dx = 1; dx <= 3; ++dx) {
            const bool covered = ((mask >> (3 * (dy - 1) + dx - 1)) & 1U) != 0U && column >= dx;
            hits += covered ? at[static_cast<std::int64_t>(dy) * size - dx] : 0U;
        }
    }
    return hits;
}

// One thread's share of a band: calls visit(pixel of the picture, hits).
template <class Visit>
ONEPFRAC_FN void visit_hits(const BlockJob& job, const BlockMemory& memory, const Band& band, int thread, int count,
                            Visit&& visit) {
    const std::uint32_t mask = brush_mask(job.brush, memory.system.key);
    const int pixels = (band.end_row - band.first_row) * job.size;
    for (int at = thread; at < pixels; at += count) {
        const int row = at / job.size;
        visit(static_cast<std::int64_t>(band.first_row) * job.size + at,
              hits_of_pixel(memory.canvas, job.size, band.first_row, band.first_row + band.rows, band.first_row + row,
                            at - row * job.size, job.brush, mask));
    }
}

template <int kMaps, class Threads>
ONEPFRAC_FN void count_hits_block(Threads& threads, const DensityJob& job, std::int64_t image, int number,
                                  DensityMemory& memory) {
    const Band band(job.points, number);
    draw_points_block<kMaps, CountCells>(threads, job.points, image, band, memory.block);
    threads.each([&](int thread) {
        std::int32_t* hits = job.hits + image * job.points.size * job.points.size;
        visit_hits(job.points, memory.block, band, thread, threads.count(),
                   [&](std::int64_t pixel, std::uint32_t value) { hits[pixel] = static_cast<std::int32_t>(value); });
    });
}

template <int kMaps, class Threads>
ONEPFRAC_FN void grade_hits_block(Threads& threads, const DensityJob& job, std::int64_t image, DensityMemory& memory) {
    const BlockJob& points = job.points;
    const int bands = (points.size + points.band_rows - 1) / points.band_rows;
    clear_block<CountCells>(threads, points, image, Band(points, 0).rows, memory.block);
    bound_block<kMaps>(threads, points, memory.block);
    threads.each([&](int thread) {
        if (thread == 0) memory.most = 0U;
    });
    for (int pass = 0; pass < 2; ++pass) {
        for (int number = 0; number < bands; ++number) {
            const Band band(points, number);
            if (pass == 0 || bands > 1) {
                threads.each([&](int thread) {
                    for (int i = thread; i < band.rows * points.size; i += threads.count()) memory.block.canvas[i] = 0U;
                });
                ink_block<kMaps, CountCells>(threads, points, band.first_row, band.rows, memory.block);
            }
            threads.each([&](int thread) {
                if (pass == 0) {
                    std::uint32_t most = 0;
                    visit_hits(points, memory.block, band, thread, threads.count(),
                               [&](std::int64_t, std::uint32_t value) { most = value > most ? value : most; });
                    Threads::atomic_max(reinterpret_cast<std::int32_t*>(&memory.most), static_cast<std::int32_t>(most));
                } else {
                    std::uint8_t* grades = job.grades + image * points.size * points.size;
                    visit_hits(
                        points, memory.block, band, thread, threads.count(),
                        [&](std::int64_t pixel, std::uint32_t value) { grades[pixel] = grade(value, memory.most); });
                }
            });
        }
    }
}

}  // namespace onepfrac
