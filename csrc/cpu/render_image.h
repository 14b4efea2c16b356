// One image on the CPU, in lanes of L: chaos game, bounds, inking, brush, pixels.
//
// The points of an image are computed once and kept in a buffer (they fit the L2 cache), so that inking, which needs
// their bounds, only reads them. Where a buffer would be too large, or a point is not finite, the orbits are walked
// twice instead, with a check a point. Inking stores one byte a point, without reading it first; the bytes are then
// gathered into the bit canvas. Canvases whose bytes would not fit the cache are inked in bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../canvas.h"
#include "../chaos_game.h"
#include "../pixels.h"
#include "interrupt.h"

namespace onepfrac {

struct RenderJob {
    const System* systems;  // [batch]
    std::int64_t batch;
    int num_maps;
    std::uint32_t points;  // an image
    int size;              // of the square canvas, in pixels
    int pad;               // in pixels
    Brush brush;
    PixelType type;
    std::byte* out;                  // [batch, size, size], or [batch, size, words a row] for bits
    Interrupt* interrupt = nullptr;  // what may end long orbits, if anything
};

inline constexpr std::uint32_t kMaxBufferedPoints = 1U << 18;
inline constexpr int kMaxByteCanvas = 1024;

// Blocks of draws between two checks for an interrupt; the orbits of a buffered image are shorter.
inline constexpr std::uint32_t kBlocksBetweenChecks = 512;

// The memory that one thread needs for one image, in parts of whole cache lines.
struct ScratchLayout {
    std::size_t coordinates;  // floats an axis, at most, in the buffer of points; 0 where there is none
    int byte_stride;          // of the byte canvas; with no margin it has a spare row above and a column on the right
    std::size_t bytes_offset, canvas_offset, texture_offset, size;
};

inline ScratchLayout scratch_layout(const RenderJob& job) {
    const auto whole_lines = [](std::size_t bytes) { return (bytes + 63) / 64 * 64; };
    ScratchLayout layout{};
    if (job.points <= kMaxBufferedPoints) {
        layout.coordinates = job.points / kOrbits * kOrbits + (job.points % kOrbits != 0 ? kOrbits : 0);
    }
    layout.bytes_offset = whole_lines(2 * sizeof(float) * layout.coordinates);
    const int spare = job.pad == 0 ? 1 : 0;  // a point may then fall on pixel `size`, which is dropped
    layout.byte_stride = (job.size + spare + 31) / 32 * 32;
    const auto rows = static_cast<std::size_t>(job.size) + static_cast<std::size_t>(spare);
    const std::size_t bytes = job.size <= kMaxByteCanvas ? rows * static_cast<std::size_t>(layout.byte_stride) : 0;
    layout.canvas_offset = layout.bytes_offset + whole_lines(bytes);
    const std::size_t canvas =
        sizeof(std::uint32_t) * static_cast<std::size_t>(job.size) * static_cast<std::size_t>(words_per_row(job.size));
    layout.texture_offset = layout.canvas_offset + whole_lines(canvas);
    layout.size = layout.texture_offset + (job.brush == Brush::kPatch ? whole_lines(canvas) + 64 * 4 * 4 : 0);
    return layout;
}

using RenderImage = void (*)(const RenderJob& job, const System& system, const ScratchLayout& layout,
                             std::byte* scratch, std::byte* out);

using ExpandImage = void (*)(const std::uint32_t* canvas, int size, PixelType type, std::byte* out);

void expand_image_scalar(const std::uint32_t* canvas, int size, PixelType type, std::byte* out);
void expand_image_avx2(const std::uint32_t* canvas, int size, PixelType type, std::byte* out);
void expand_image_avx512(const std::uint32_t* canvas, int size, PixelType type, std::byte* out);
void render_image_scalar(const RenderJob&, const System&, const ScratchLayout&, std::byte* scratch, std::byte* out);
void render_image_avx2(const RenderJob&, const System&, const ScratchLayout&, std::byte* scratch, std::byte* out);
void render_image_avx512(const RenderJob&, const System&, const ScratchLayout&, std::byte* scratch, std::byte* out);

// How many vectors of orbits are walked side by side, to hide the latency of the recurrence.
inline constexpr int kVectors = 4;

// The map that a draw chooses, in lanes: one of two.
template <class L>
struct ChooseOfTwo {
    typename L::Table2 a, b, e, c, d, f;
    typename L::U threshold;

    ONEPFRAC_FN explicit ChooseOfTwo(const System& s, int /*num_maps*/)
        : a(s.a), b(s.b), e(s.e), c(s.c), d(s.d), f(s.f), threshold(L::splat_u(s.threshold[0])) {}

    ONEPFRAC_FN Map<typename L::F> at(typename L::U draw) const {
        const typename L::M first = L::less(draw, threshold);
        return {a.at(first), b.at(first), e.at(first), c.at(first), d.at(first), f.at(first)};
    }
};

// The same for any number of maps: the thresholds above the draw are counted, and the maps stand in the tables in
// reverse, so that the count is the index.
template <class L, class Table>
struct ChooseOfMany {
    struct Reversed {
        alignas(64) float value[kMaxMaps];
        ONEPFRAC_FN Reversed(const float* values, int num_maps) {
            for (int j = 0; j < kMaxMaps; ++j) value[j] = j < num_maps ? values[num_maps - 1 - j] : 0.0F;
        }
    };
    Reversed ra, rb, re, rc, rd, rf;
    Table a, b, e, c, d, f;
    typename L::U threshold[kMaxMaps];
    int num_thresholds;

    ONEPFRAC_FN explicit ChooseOfMany(const System& s, int num_maps)
        : ra(s.a, num_maps),
          rb(s.b, num_maps),
          re(s.e, num_maps),
          rc(s.c, num_maps),
          rd(s.d, num_maps),
          rf(s.f, num_maps),
          a(ra.value),
          b(rb.value),
          e(re.value),
          c(rc.value),
          d(rd.value),
          f(rf.value),
          num_thresholds(num_maps - 1) {
        for (int j = 0; j < num_thresholds; ++j) threshold[j] = L::splat_u(s.threshold[j]);
    }
    ChooseOfMany(const ChooseOfMany&) = delete;
    ChooseOfMany& operator=(const ChooseOfMany&) = delete;

    ONEPFRAC_FN Map<typename L::F> at(typename L::U draw) const {
        typename L::U above = L::splat_u(0U);
        for (int j = 0; j < num_thresholds; ++j) above = L::add_mask(above, L::less(draw, threshold[j]));
        return {a.at(above), b.at(above), e.at(above), c.at(above), d.at(above), f.at(above)};
    }
};

template <class L>
using Points = Point<typename L::F>[kVectors];

// Walks kVectors x kWidth orbits from `first_orbit` on and hands every step's points to visit. Lanes whose orbit has
// one point less than others get a point of the group once more, which changes neither bounds nor ink. Returns
// whether all ended finite.
template <class L, class Chooser, class Visit>
ONEPFRAC_FN bool walk_group(const Chooser& chooser, const System& system, const RoundKeys<L>& keys,
                            std::uint32_t first_orbit, std::uint32_t points, Interrupt* interrupt, Visit&& visit) {
    using U = typename L::U;
    const std::uint32_t common = points / kOrbits;  // points that every orbit draws
    const std::uint32_t rest = points % kOrbits;    // orbits that draw one more
    const bool one_more = first_orbit < rest;
    if (common == 0 && !one_more) return true;

    Points<L> p;
    const auto draws_from = [&](int g) {
        const auto orbit = L::add(L::iota(), L::splat_u(first_orbit + static_cast<std::uint32_t>(g * L::kWidth)));
        return PhiloxSequence<L>(orbit, Purpose::kOrbit, keys);
    };
    const PhiloxSequence<L> draws[kVectors] = {draws_from(0), draws_from(1), draws_from(2), draws_from(3)};
    for (int g = 0; g < kVectors; ++g) p[g] = {L::splat(system.start[0]), L::splat(system.start[1])};

    // The first `steps` steps of a block; after(s) follows each.
    const auto play = [&](std::uint32_t block_index, std::uint32_t steps, auto&& after) __attribute__((always_inline)) {
        PhiloxBlock<L> block[kVectors];
#pragma GCC unroll 4
        for (int g = 0; g < kVectors; g += 2) {
            PhiloxState<L> states[2];
            for (int i = 0; i < 2; ++i) states[i] = draws[g + i].after_three_rounds(block_index, keys);
            philox_rounds<L>(states, keys, 3);
            for (int i = 0; i < 2; ++i) block[g + i] = narrow<L>(states[i]);
        }
#pragma GCC unroll 8
        for (std::uint32_t s = 0; s < kStepsPerBlock; ++s) {
            if (s >= steps) break;
#pragma GCC unroll 4
            for (int g = 0; g < kVectors; ++g) {
                const U word = block[g].word[s / 2];
                const U draw = s % 2 == 0 ? L::bit_and(word, L::splat_u(0xFFFFU)) : L::template shift_right<16>(word);
                p[g] = apply<L>(chooser.at(draw), p[g]);
            }
            after(s);
        }
    };

    std::uint32_t block = 0;
    for (; block < kBurnIn / kStepsPerBlock; ++block) play(block, kStepsPerBlock, [](std::uint32_t) {});
    for (const std::uint32_t whole_blocks = (kBurnIn + common) / kStepsPerBlock; block < whole_blocks;) {
        const std::uint32_t ahead = whole_blocks - block;
        const std::uint32_t end = block + (ahead < kBlocksBetweenChecks ? ahead : kBlocksBetweenChecks);
        for (; block < end; ++block) play(block, kStepsPerBlock, [&](std::uint32_t) { visit(p); });
        if (block < whole_blocks && interrupt != nullptr) interrupt->check();
    }
    typename L::M finite = L::mask_all();
    const auto all_finite = [&] {
        for (int g = 0; g < kVectors; ++g) finite = L::mask_and(finite, L::finite(p[g].x, p[g].y));
    };
    const std::uint32_t left = common % kStepsPerBlock;
    play(block, left + (one_more ? 1U : 0U), [&](std::uint32_t s) {
        if (s == left) {   // the point that only some orbits have
            all_finite();  // before the others are overwritten
            const Point<typename L::F> valid{L::splat(L::first(p[0].x)), L::splat(L::first(p[0].y))};
            for (int g = 0; g < kVectors; ++g) {
                const std::uint32_t lane0 = first_orbit + static_cast<std::uint32_t>(g * L::kWidth);
                const typename L::M has = L::from_lane(rest > lane0 ? rest - lane0 : 0U);
                p[g] = {L::select(has, p[g].x, valid.x), L::select(has, p[g].y, valid.y)};
            }
        }
        visit(p);
    });

    all_finite();
    return L::all(finite);
}

template <class L, class Chooser, class Visit>
ONEPFRAC_FN bool walk_all(const Chooser& chooser, const System& system, std::uint32_t points, Interrupt* interrupt,
                          Visit&& visit) {
    const RoundKeys<L> keys(system.key);
    bool finite = true;
    for (std::uint32_t orbit = 0; orbit < kOrbits; orbit += kVectors * L::kWidth) {
        finite = walk_group<L>(chooser, system, keys, orbit, points, interrupt, visit) && finite;
    }
    return finite;
}

template <class L>
struct LaneBounds {
    typename L::F x_min = L::splat(__builtin_inff()), x_max = L::splat(-__builtin_inff());
    typename L::F y_min = x_min, y_max = x_max;

    ONEPFRAC_FN void add(const Points<L>& p) {
        static_assert(kVectors == 4);
        x_min = L::min(x_min, L::min(L::min(p[0].x, p[1].x), L::min(p[2].x, p[3].x)));
        x_max = L::max(x_max, L::max(L::max(p[0].x, p[1].x), L::max(p[2].x, p[3].x)));
        y_min = L::min(y_min, L::min(L::min(p[0].y, p[1].y), L::min(p[2].y, p[3].y)));
        y_max = L::max(y_max, L::max(L::max(p[0].y, p[1].y), L::max(p[2].y, p[3].y)));
    }

    ONEPFRAC_FN void add_finite(const Points<L>& p) {
        for (int g = 0; g < kVectors; ++g) {
            const typename L::M finite = L::finite(p[g].x, p[g].y);
            x_min = L::min(x_min, L::select(finite, p[g].x, x_min));
            x_max = L::max(x_max, L::select(finite, p[g].x, x_max));
            y_min = L::min(y_min, L::select(finite, p[g].y, y_min));
            y_max = L::max(y_max, L::select(finite, p[g].y, y_max));
        }
    }

    ONEPFRAC_FN Bounds reduce() const {
        float value[4][L::kWidth];
        L::store(value[0], x_min);
        L::store(value[1], x_max);
        L::store(value[2], y_min);
        L::store(value[3], y_max);
        Bounds bounds{value[0][0], value[1][0], value[2][0], value[3][0]};
        for (int i = 1; i < L::kWidth; ++i) {
            bounds.x_min = value[0][i] < bounds.x_min ? value[0][i] : bounds.x_min;
            bounds.x_max = value[1][i] > bounds.x_max ? value[1][i] : bounds.x_max;
            bounds.y_min = value[2][i] < bounds.y_min ? value[2][i] : bounds.y_min;
            bounds.y_max = value[3][i] > bounds.y_max ? value[3][i] : bounds.y_max;
        }
        return bounds;
    }
};

template <class L>
struct LaneAxis {
    typename L::F origin, scale, offset;
    ONEPFRAC_FN explicit LaneAxis(const Axis& axis)
        : origin(L::splat(axis.origin)), scale(L::splat(axis.scale)), offset(L::splat(axis.offset)) {}
    ONEPFRAC_FN typename L::U to_pixel(typename L::F v) const {
        return L::truncate(L::fma(L::subtract(v, origin), scale, offset));
    }
};

// Inks into bytes, 255 where inked. Rows run from the top of the picture, like the canvas.
template <class L>
struct ByteInk {
    LaneAxis<L> x, y;
    std::uint8_t* bottom;  // the row of py = 0
    int stride;

    ONEPFRAC_FN typename L::U cell(const Point<typename L::F>& p) const {
        return L::cell(x.to_pixel(p.x), y.to_pixel(p.y), -stride);
    }
    ONEPFRAC_FN void add(const Point<typename L::F>& p) const { L::store_bytes(bottom, cell(p)); }
};

// Inks into the bit canvas.
template <class L>
struct BitInk {
    LaneAxis<L> x, y;
    std::uint32_t* canvas;
    int size, stride;

    ONEPFRAC_FN void add(const Point<typename L::F>& p) const {
        std::uint32_t px[L::kWidth], py[L::kWidth];
        L::store_u(px, x.to_pixel(p.x));
        L::store_u(py, y.to_pixel(p.y));
        const auto end = static_cast<std::uint32_t>(size);
        for (int i = 0; i < L::kWidth; ++i) {
            if (px[i] < end && py[i] < end) {
                const std::int64_t row = size - 1 - static_cast<int>(py[i]);
                canvas[row * stride + static_cast<int>(px[i] / 32U)] |= 1U << (px[i] % 32U);
            }
        }
    }
};

struct Played {
    Bounds bounds;
    std::size_t count;  // of buffered points
    bool finite;        // all of them are
};

// Stages of an image. They are functions of their own, so that each has the registers to itself.

// Plays all orbits into the buffer.
template <class L, class Chooser>
__attribute__((noinline)) Played play_into_buffer(const Chooser& chooser, const System& system, std::uint32_t points,
                                                  float* xs, float* ys) {
    LaneBounds<L> bounds;
    std::size_t count = 0;
    const bool finite = walk_all<L>(chooser, system, points, nullptr, [&](const Points<L>& p) {
        for (int g = 0; g < kVectors; ++g) {
            L::store(xs + count + g * L::kWidth, p[g].x);
            L::store(ys + count + g * L::kWidth, p[g].y);
        }
        count += kVectors * L::kWidth;
        bounds.add(p);
    });
    return {bounds.reduce(), count, finite};
}

template <class L, class Ink>
__attribute__((noinline)) void ink_buffer(const Ink ink, const float* xs, const float* ys, std::size_t count) {
    std::size_t i = 0;
    if constexpr (requires { ink.cell(Point<typename L::F>{}); }) {
        // A load waits for older stores that it seems to alias (they share the low 12 bits of their addresses), and
        // byte stores all over the canvas do so all the time. So the loads of many points come before their stores.
        constexpr int kAhead = L::kWidth > 1 ? 64 / L::kWidth : 16;
        for (; i + kAhead * L::kWidth <= count; i += kAhead * L::kWidth) {
            typename L::U cells[kAhead];
#pragma GCC unroll 16
            for (int g = 0; g < kAhead; ++g) {
                cells[g] = ink.cell({L::load(xs + i + g * L::kWidth), L::load(ys + i + g * L::kWidth)});
            }
#pragma GCC unroll 16
            for (int g = 0; g < kAhead; ++g) L::store_bytes(ink.bottom, cells[g]);
        }
    }
    for (; i < count; i += L::kWidth) ink.add({L::load(xs + i), L::load(ys + i)});
}

// Without a buffer: the orbits are walked twice, and points that are not finite are left out.
template <class L, class Chooser>
__attribute__((noinline)) Bounds bound_again(const Chooser& chooser, const System& system, std::uint32_t points,
                                             Interrupt* interrupt) {
    LaneBounds<L> bounds;
    walk_all<L>(chooser, system, points, interrupt, [&](const Points<L>& p) { bounds.add_finite(p); });
    return bounds.reduce();
}

template <class L, class Chooser, class Ink>
__attribute__((noinline)) void ink_again(const Chooser& chooser, const System& system, std::uint32_t points,
                                         Interrupt* interrupt, const Ink ink) {
    walk_all<L>(chooser, system, points, interrupt, [&](const Points<L>& p) {
        for (int g = 0; g < kVectors; ++g) {
            if (L::all(L::finite(p[g].x, p[g].y))) {
                ink.add(p[g]);
                continue;
            }
            float x[L::kWidth], y[L::kWidth];
            L::store(x, p[g].x);
            L::store(y, p[g].y);
            for (int i = 0; i < L::kWidth; ++i) {
                if (!is_finite({x[i], y[i]})) continue;
                if constexpr (requires { ink.add_times(Point<float>{}, 1U); }) {
                    ink.add_times({x[i], y[i]}, 1U);
                } else {  // once more in every lane, which bits do not notice
                    ink.add({L::splat(x[i]), L::splat(y[i])});
                }
            }
        }
    });
}

// The first row of the picture in the byte canvas.
inline std::uint8_t* top_row(const RenderJob& job, const ScratchLayout& layout, std::byte* scratch) {
    return reinterpret_cast<std::uint8_t*>(scratch + layout.bytes_offset) + (job.pad == 0 ? layout.byte_stride : 0);
}

// Chaos game and bounds: calls draw(x, y, ink_all, xs, ys), and ink_all(ink) adds every point to the ink. xs and ys are
// the points' coordinates in the order in which walk_all hands them out, null where there is no buffer.
template <class L, class Chooser, class Draw>
ONEPFRAC_FN void play_points(const RenderJob& job, const System& system, const ScratchLayout& layout,
                             std::byte* scratch, Draw&& draw) {
    const Chooser chooser(system, job.num_maps);
    auto* xs = reinterpret_cast<float*>(scratch);
    float* ys = xs + layout.coordinates;
    Played played{};
    if (layout.coordinates > 0) played = play_into_buffer<L>(chooser, system, job.points, xs, ys);
    const bool buffered = played.finite;
    const Bounds bounds = buffered ? played.bounds : bound_again<L>(chooser, system, job.points, job.interrupt);
    const LaneAxis<L> x(make_axis(bounds.x_min, bounds.x_max, job.size, job.pad));
    const LaneAxis<L> y(make_axis(bounds.y_min, bounds.y_max, job.size, job.pad));
    draw(
        x, y,
        [&](const auto& ink) {
            if (buffered) {
                ink_buffer<L>(ink, xs, ys, played.count);
            } else {
                ink_again<L>(chooser, system, job.points, job.interrupt, ink);
            }
        },
        buffered ? xs : nullptr, ys);
}

// Leaves the inked points in the byte canvas, or in `canvas` where there is none.
template <class L, class Chooser>
void draw_points(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                 std::uint32_t* canvas) {
    play_points<L, Chooser>(
        job, system, layout, scratch, [&](const auto& x, const auto& y, auto&& ink_all, const float*, const float*) {
            if (job.size <= kMaxByteCanvas) {
                const std::int64_t stride = layout.byte_stride;
                std::uint8_t* top = top_row(job, layout, scratch);
                std::byte* first = scratch + layout.bytes_offset;
                __builtin_memset(
                    first, 0, static_cast<std::size_t>(reinterpret_cast<std::byte*>(top) - first + job.size * stride));
                ink_all(ByteInk<L>{x, y, top + (job.size - 1) * stride, layout.byte_stride});
            } else {
                const int stride = words_per_row(job.size);
                __builtin_memset(canvas, 0, sizeof(std::uint32_t) * static_cast<std::size_t>(job.size * stride));
                ink_all(BitInk<L>{x, y, canvas, job.size, stride});
            }
        });
}

// Calls play(chooser type) with the fastest way to choose among so many maps.
template <class L, class Play>
ONEPFRAC_FN void with_chooser(int num_maps, Play&& play) {
    if (num_maps == 2) {
        play.template operator()<ChooseOfTwo<L>>();
    } else if (num_maps <= 8) {
        play.template operator()<ChooseOfMany<L, typename L::Table8>>();
    } else {
        play.template operator()<ChooseOfMany<L, typename L::Table16>>();
    }
}

template <class L>
void draw_texture(const System& system, std::int64_t words, std::uint32_t* texture) {
    const RoundKeys<L> keys(system.key);
    for (std::int64_t first = 0; 4 * first < words; first += L::kWidth) {
        const PhiloxBlock<L> block =
            texture_words<L>(L::add(L::iota(), L::splat_u(static_cast<std::uint32_t>(first))), keys);
        std::uint32_t word[4][L::kWidth];
        for (int q = 0; q < 4; ++q) L::store_u(word[q], block.word[q]);
        for (int i = 0; i < L::kWidth; ++i) {
            for (int q = 0; q < 4; ++q) texture[4 * (first + i) + q] = word[q][i];
        }
    }
}

template <PixelType kType>
struct PixelOf {
    using Type = std::uint16_t;
};
template <>
struct PixelOf<PixelType::kUint8> {
    using Type = std::uint8_t;
};
template <>
struct PixelOf<PixelType::kFloat32> {
    using Type = std::uint32_t;
};

// Writes the picture: word_at(row, j) gives its bits.
template <class L, PixelType kType, class WordAt>
ONEPFRAC_FN void write_picture(int size, std::byte* out, WordAt&& word_at) {
    using Pixel = typename PixelOf<kType>::Type;
    const auto ink = static_cast<Pixel>(ink_bits(kType));
    const int whole = size / 32;
    for (int row = 0; row < size; ++row) {
        Pixel* pixels = reinterpret_cast<Pixel*>(out) + static_cast<std::int64_t>(row) * size;
        for (int j = 0; j < whole; ++j) {
            const std::uint32_t word = word_at(row, j);
            if constexpr (kType == PixelType::kUint8) {
                L::bytes_of_bits(word, ink, pixels + 32 * j);
            } else {
                for (int i = 0; i < 32; ++i) pixels[32 * j + i] = static_cast<Pixel>(((word >> i) & 1U) * ink);
            }
        }
        if (whole * 32 == size) continue;
        const std::uint32_t word = word_at(row, whole);
        for (int i = 0; i < size % 32; ++i) pixels[32 * whole + i] = static_cast<Pixel>(((word >> i) & 1U) * ink);
    }
}

template <class L, class WordAt>
ONEPFRAC_FN void write_pixels(int size, PixelType type, std::byte* out, WordAt&& word_at) {
    switch (type) {
        case PixelType::kUint8:
            return write_picture<L, PixelType::kUint8>(size, out, word_at);
        case PixelType::kFloat16:
            return write_picture<L, PixelType::kFloat16>(size, out, word_at);
        case PixelType::kBfloat16:
            return write_picture<L, PixelType::kBfloat16>(size, out, word_at);
        case PixelType::kFloat32:
            return write_picture<L, PixelType::kFloat32>(size, out, word_at);
        case PixelType::kBits: {
            auto* words = reinterpret_cast<std::uint32_t*>(out);
            const int stride = words_per_row(size);
            for (int row = 0; row < size; ++row) {
                for (int j = 0; j < stride; ++j) words[row * stride + j] = word_at(row, j);
            }
        }
    }
}

// A stored canvas as a picture.
template <class L>
void expand_image(const std::uint32_t* canvas, int size, PixelType type, std::byte* out) {
    const int stride = words_per_row(size);
    write_pixels<L>(size, type, out,
                    [&](int row, int j) { return canvas[row * stride + j] & columns_of_word(size, j); });
}

template <class L>
void render_image(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                  std::byte* out) {
    auto* canvas = reinterpret_cast<std::uint32_t*>(scratch + layout.canvas_offset);
    auto* texture = reinterpret_cast<std::uint32_t*>(scratch + layout.texture_offset);
    with_chooser<L>(job.num_maps,
                    [&]<class Chooser>() { draw_points<L, Chooser>(job, system, layout, scratch, canvas); });

    const int size = job.size;
    const int stride = words_per_row(size);
    if (size <= kMaxByteCanvas) {
        const std::uint8_t* bytes = top_row(job, layout, scratch);
        const auto word_of_bytes = [&](int row, int j) {
            return L::bits_of_bytes(bytes + static_cast<std::int64_t>(row) * layout.byte_stride + 32 * j) &
                   columns_of_word(size, j);
        };
        if (job.brush == Brush::kPoint && job.type == PixelType::kUint8) {
            for (int row = 0; row < size; ++row) {
                const std::uint8_t* from = bytes + static_cast<std::int64_t>(row) * layout.byte_stride;
                std::byte* to = out + static_cast<std::int64_t>(row) * size;
                for (int i = 0; i < size; ++i) to[i] = std::byte{from[i]} & std::byte{127};
            }
            return;
        }
        if (job.brush == Brush::kPoint) {
            write_pixels<L>(size, job.type, out, word_of_bytes);
            return;
        }
        for (int row = 0; row < size; ++row) {
            for (int j = 0; j < stride; ++j) canvas[row * stride + j] = word_of_bytes(row, j);
        }
    } else if (job.brush == Brush::kPoint) {
        write_pixels<L>(size, job.type, out, [&](int row, int j) { return canvas[row * stride + j]; });
        return;
    }
    const std::uint32_t mask = brush_mask(job.brush, system.key);
    if (job.brush != Brush::kPatch) {
        write_pixels<L>(size, job.type, out,
                        [&](int row, int j) { return brushed_word(canvas, stride, 0, size, row, j, mask); });
        return;
    }
    draw_texture<L>(system, static_cast<std::int64_t>(size) * stride, texture);
    write_pixels<L>(size, job.type, out, [&](int row, int j) {
        return brushed_word(canvas, stride, 0, size, row, j, 511U) & texture[row * stride + j];
    });
}

}  // namespace onepfrac
