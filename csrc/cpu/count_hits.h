// Hits of one image on the CPU, in lanes of L, which have add_ones(base, offsets) beside what render_image.h asks for:
// it adds 1 at each offset, a signed number of words. The points are those of render_image.h; they are counted in the
// output, or in working memory where grades are asked for, and a brush is summed in place from the top row down: a row
// needs the counts of the three rows below it alone.
#pragma once

#include "../density.h"
#include "render_image.h"

namespace onepfrac {

// Draws hits into `counts`, 32 bits a pixel, and where `grades` is not null their grades. `scratch` is laid out as for
// a job of bits.
using CountHits = void (*)(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                           std::uint32_t* counts, std::uint8_t* grades);

void count_hits_scalar(const RenderJob&, const System&, const ScratchLayout&, std::byte*, std::uint32_t*,
                       std::uint8_t*);
void count_hits_avx2(const RenderJob&, const System&, const ScratchLayout&, std::byte*, std::uint32_t*, std::uint8_t*);
void count_hits_avx512(const RenderJob&, const System&, const ScratchLayout&, std::byte*, std::uint32_t*,
                       std::uint8_t*);

// The scratch of an image: the buffer of points alone.
inline ScratchLayout density_scratch_layout(const RenderJob& job) {
    ScratchLayout layout = scratch_layout(job);
    layout.size = layout.bytes_offset;
    return layout;
}

// Counts the points of each pixel; points off the canvas (px or py = size, where there is no margin) are dropped.
template <class L>
struct CountInk {
    LaneAxis<L> x, y;
    std::uint32_t* counts;
    int size;
    bool margin;

    ONEPFRAC_FN void add(const Point<typename L::F>& p) const {
        std::uint32_t px[L::kWidth], py[L::kWidth];
        L::store_u(px, x.to_pixel(p.x));
        L::store_u(py, y.to_pixel(p.y));
        for (int i = 0; i < L::kWidth; ++i) add_to(px[i], py[i], 1U);
    }
    // One point, `times` modulo 2^32.
    ONEPFRAC_FN void add_times(const Point<float>& p, std::uint32_t times) const {
        std::uint32_t px[L::kWidth], py[L::kWidth];
        L::store_u(px, x.to_pixel(L::splat(p.x)));
        L::store_u(py, y.to_pixel(L::splat(p.y)));
        add_to(px[0], py[0], times);
    }

  private:
    ONEPFRAC_FN void add_to(std::uint32_t px, std::uint32_t py, std::uint32_t value) const {
        const auto end = static_cast<std::uint32_t>(size);
        if (!margin && (px >= end || py >= end)) return;
        counts[static_cast<std::int64_t>(end - 1U - py) * size + px] += value;
    }
};

// All points of the buffer, where a margin keeps them on the canvas. The cells of many points are worked out before
// they are counted, and leave through registers, for the reasons that ink_buffer gives; it halves the time.
template <class L>
__attribute__((noinline)) void count_buffer(const CountInk<L> ink, const float* xs, const float* ys,
                                            std::size_t count) {
    constexpr int kAhead = L::kWidth > 1 ? 64 / L::kWidth : 16;
    std::uint32_t* bottom = ink.counts + static_cast<std::int64_t>(ink.size - 1) * ink.size;  // the row of py = 0
    std::size_t i = 0;
    for (; i + kAhead * L::kWidth <= count; i += kAhead * L::kWidth) {
        typename L::U cells[kAhead];
#pragma GCC unroll 16
        for (int g = 0; g < kAhead; ++g) {
            cells[g] = L::cell(ink.x.to_pixel(L::load(xs + i + g * L::kWidth)),
                               ink.y.to_pixel(L::load(ys + i + g * L::kWidth)), -ink.size);
        }
#pragma GCC unroll 16
        for (int g = 0; g < kAhead; ++g) L::add_ones(bottom, cells[g]);
    }
    for (; i < count; i += L::kWidth) ink.add({L::load(xs + i), L::load(ys + i)});
}

// How many points the buffer holds, with those that are repeated.
template <class L>
std::size_t buffered_points(std::uint32_t points) {
    constexpr std::uint32_t kGroup = kVectors * L::kWidth;
    return points / kOrbits * kOrbits + (points % kOrbits + kGroup - 1) / kGroup * kGroup;
}

// Lanes whose orbit has no more point repeat one of their group (walk_group), which bits do not notice and counts must
// not keep. It happens in one step of one group at most, since the orbits with one more point are the first ones, and
// what they repeat is the last point of the group's first orbit.
template <class L>
void take_back_repeats(const RenderJob& job, const System& system, const CountInk<L>& ink, const float* xs,
                       const float* ys) {
    constexpr std::uint32_t kGroup = kVectors * L::kWidth;
    const std::uint32_t common = job.points / kOrbits, rest = job.points % kOrbits;
    if (rest % kGroup == 0) return;
    const std::uint32_t group = rest / kGroup, repeats = kGroup - rest % kGroup;
    if (xs != nullptr) {
        const std::uint32_t at = (group * (common + 1) + common) * kGroup;
        ink.add_times({xs[at], ys[at]}, 0U - repeats);
        return;
    }
    std::uint32_t drawn = 0;
    Point<float> last{};
    walk_orbit<0, true>(system, job.num_maps, group * kGroup, common + 1, Purpose::kOrbit, [&](Point<float> p) {
        ++drawn;
        last = p;
    });
    if (drawn == common + 1) ink.add_times(last, 0U - repeats);  // else the orbit ended at a point that nobody counted
}

// The count of each pixel becomes its hits.
ONEPFRAC_FN void sum_brush(std::uint32_t* counts, int size, std::uint32_t mask) {
    for (int row = 0; row < size; ++row) {
        std::uint32_t* hits = counts + static_cast<std::int64_t>(row) * size;
        __builtin_memset(hits, 0, sizeof(std::uint32_t) * static_cast<std::size_t>(size));
        for (int dy = 1; dy <= 3 && row + dy < size; ++dy) {
            const std::uint32_t* below = hits + static_cast<std::int64_t>(dy) * size;
            for (int dx = 1; dx <= 3; ++dx) {
                if (((mask >> (3 * (dy - 1) + dx - 1)) & 1U) == 0U) continue;
#pragma GCC ivdep
                for (std::int64_t column = dx; column < size; ++column) hits[column] += below[column - dx];
            }
        }
    }
}

ONEPFRAC_FN void grade_hits(const std::uint32_t* hits, std::int64_t pixels, std::uint8_t* grades) {
    std::uint32_t most = 0;
    for (std::int64_t i = 0; i < pixels; ++i) most = hits[i] > most ? hits[i] : most;
    for (std::int64_t i = 0; i < pixels; ++i) grades[i] = grade(hits[i], most);
}

template <class L>
void count_hits(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                std::uint32_t* counts, std::uint8_t* grades) {
    const std::int64_t pixels = static_cast<std::int64_t>(job.size) * job.size;
    __builtin_memset(counts, 0, sizeof(std::uint32_t) * static_cast<std::size_t>(pixels));
    with_chooser<L>(job.num_maps, [&]<class Chooser>() {
        play_points<L, Chooser>(job, system, layout, scratch,
                                [&](const auto& x, const auto& y, auto&& ink_all, const float* xs, const float* ys) {
                                    const CountInk<L> ink{x, y, counts, job.size, job.pad > 0};
                                    if (xs != nullptr && ink.margin) {
                                        count_buffer<L>(ink, xs, ys, buffered_points<L>(job.points));
                                    } else {
                                        ink_all(ink);
                                    }
                                    take_back_repeats(job, system, ink, xs, ys);
                                });
    });
    if (job.brush != Brush::kPoint) sum_brush(counts, job.size, brush_mask(job.brush, system.key));
    if (grades != nullptr) grade_hits(counts, pixels, grades);
}

}  // namespace onepfrac
