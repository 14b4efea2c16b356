// One Visual Atom on the CPU (visual_atom.h says what is drawn). Draws come from Philox in lanes; moving the vertices
// and preparing the segments are plain loops over arrays that the compiler turns into vector code; segments within the
// canvas are painted without tests, by whatever the instruction set offers.
//
// Vertices are dealt with in strips. A strip that has left the canvas for good is no longer drawn, nor moved if the one
// before, whose last segment ends in it, has left too.
#pragma once

#include <algorithm>
#include <cstring>

#include "../visual_atom.h"
#include "arena.h"
#include "interrupt.h"

namespace onepfrac {

inline constexpr int kAtomStrip = 32;  // vertices, or segments, at a time: what is between two loops stays in L1

// Longest segment whose pixels follow from a slope of 16 bits: floor(i m / n + 1/2) = (i slope + 2^15) >> 16 for all
// i <= n, with slope = floor(2^16 m / n) + 1, as long as n n < 2^15. The quotient in float32 is then exact when
// truncated: it is at least 1 / n away from the next integer.
inline constexpr int kShortSegment = 181;

// A segment with both ends on the canvas.
struct alignas(16) AtomSegment {
    std::int32_t start;   // its first pixel's offset
    std::int32_t length;  // n, steps of the longer axis
    std::int32_t slope;   // see above
    std::int32_t steps;   // offsets of a step along the longer axis (low half) and the other
};

// Bits: of a strip with both kinds, all are set.
enum AtomSegmentState : std::int32_t { kOffCanvas = 0, kOnCanvas = 1, kCrossing = 2 };

// The segments from a strip's vertices to the next of each.
template <class L>
ONEPFRAC_FN void prepare_segments(const std::int32_t* __restrict__ px, const std::int32_t* __restrict__ py, int size,
                                  AtomSegment* __restrict__ segments, std::int32_t* __restrict__ state) {
    for (int i = 0; i < kAtomStrip; ++i) {
        const int x0 = px[i], y0 = py[i], x1 = px[i + 1], y1 = py[i + 1];
        const int dx = x1 - x0, dy = y1 - y0;
        const int wide = dx < 0 ? -dx : dx, high = dy < 0 ? -dy : dy;
        const int right = dx < 0 ? -1 : 1, down = dy < 0 ? -size : size;
        const bool flat = wide > high;
        const int n = flat ? wide : high, m = flat ? high : wide;
        const int divisor = n > 0 ? n : 1;
        segments[i].start = y0 * size + x0;
        segments[i].length = n;
        segments[i].slope = static_cast<int>(static_cast<float>(m << 16) / static_cast<float>(divisor)) + 1;
        segments[i].steps = flat ? (right & 0xFFFF) | (down << 16) : (down & 0xFFFF) | (right << 16);
        // Numbers that are negative where both ends lie beyond one side, or any end beyond any.
        const int last = size - 1;
        const int off = (x0 & x1) | (y0 & y1) | ((last - x0) & (last - x1)) | ((last - y0) & (last - y1));
        const int out = x0 | x1 | y0 | y1 | (last - x0) | (last - x1) | (last - y0) | (last - y1);
        const int special = (out | (kShortSegment - n)) < 0 ? kCrossing : kOnCanvas;
        state[i] = off < 0 ? kOffCanvas : special;
    }
}

template <class L>
ONEPFRAC_FN void move_strip(const std::uint32_t* __restrict__ words, float scale, float* __restrict__ place,
                            const float* __restrict__ directions, const float* __restrict__ bases,
                            std::int32_t* __restrict__ pixel) {
    for (int i = 0; i < kAtomStrip; ++i) {
        place[i] = atom_moved(place[i], directions[i], bases[i], scale, words[i]);
        pixel[i] = static_cast<std::int32_t>(place[i]);
    }
}

template <class L>
ONEPFRAC_FN void start_strip(const Atom& atom, int first, float* __restrict__ x, float* __restrict__ y,
                             float* __restrict__ cosines, float* __restrict__ sines, float* __restrict__ bases) {
    const Atom of = atom;
    for (int i = 0; i < kAtomStrip; ++i) {
        // Beyond the last vertex stand copies of it, which are never drawn.
        const int last = of.vertices - 1, v = first + i < last ? first + i : last;
        const AtomVertex vertex = atom_vertex(of, v);
        cosines[i] = vertex.cos;
        sines[i] = vertex.sin;
        bases[i] = vertex.base;
        x[i] = atom_start(of, 0, vertex.cos);
        y[i] = atom_start(of, 1, vertex.sin);
    }
}

// Whether a strip's vertices and the first of the next lie beyond one side of the canvas, further than they can come
// back: at most `along` pixels where back is towards the centre, `against` where it is not.
template <class L>
ONEPFRAC_FN bool has_left(const std::int32_t* __restrict__ pixel, const float* __restrict__ directions, int size,
                          float along, float against) {
    std::int32_t least = pixel[0], most = pixel[0];
    float lowest = directions[0], highest = directions[0];
    for (int i = 1; i <= kAtomStrip; ++i) {
        least = pixel[i] < least ? pixel[i] : least;
        most = pixel[i] > most ? pixel[i] : most;
        lowest = directions[i] < lowest ? directions[i] : lowest;
        highest = directions[i] > highest ? directions[i] : highest;
    }
    // Two pixels for the rounding of places and the truncation to pixels.
    const float above = static_cast<float>(least) - static_cast<float>(size) - 2.0F;
    const float below = -2.0F - static_cast<float>(most);
    return above > (lowest >= 0.0F ? along : against) || below > (highest <= 0.0F ? along : against);
}

template <class L, class Painter>
void draw_atom(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas) {
    const Arena::Mark mark(arena);
    const int vertices = atom.vertices, strips = (vertices + kAtomStrip - 1) / kAtomStrip, room = strips * kAtomStrip;
    const auto all = static_cast<std::size_t>(room) + kAtomStrip;
    const auto floats = [&] { return arena.take<float>(all); };
    float *x = floats(), *y = floats(), *cosines = floats(), *sines = floats(), *bases = floats();
    const auto integers = [&] { return arena.take<std::int32_t>(all); };
    std::int32_t *px[2] = {integers(), integers()}, *py[2] = {integers(), integers()};  // of an even and an odd line
    auto* segments = arena.take<AtomSegment>(all);
    auto* crossing = arena.take<std::int32_t>(all);
    bool gone[kMaxAtomVertices / kAtomStrip] = {};
    for (int first = 0; first < room; first += kAtomStrip) {
        start_strip<L>(atom, first, x + first, y + first, cosines + first, sines + first, bases + first);
    }
    cosines[room] = cosines[0];
    sines[room] = sines[0];
    // The last strip's last segment ends there. Where it lies beyond the last vertex it is worked out, but never drawn.
    for (int odd = 0; odd < 2; ++odd) px[odd][room] = py[odd][room] = 0;
    std::memset(canvas, 0, static_cast<std::size_t>(size) * static_cast<std::size_t>(size));

    const RoundKeys<L> keys(atom.key);
    const RoundKeys<ScalarLanes> plain_keys(atom.key);
    const float scale = 0.4F * atom.coefficient;
    for (int pair = 0; 2 * pair < atom.lines; ++pair) {
        for (int strip = 0; strip < strips; ++strip) {
            if (gone[strip] && gone[strip == 0 ? strips - 1 : strip - 1]) continue;
            const int first = strip * kAtomStrip;
            alignas(64) std::uint32_t words[4][kAtomStrip];
            for (int i = 0; i < kAtomStrip; i += L::kWidth) {
                const auto v = static_cast<std::uint32_t>(first + i);
                const PhiloxSequence<L> draws(L::add(L::iota(), L::splat_u(v)), kAtomPurpose, keys);
                const PhiloxBlock<L> block = draws.at(static_cast<std::uint32_t>(pair), keys);
                for (int q = 0; q < 4; ++q) L::store_u(words[q] + i, block.word[q]);
            }
            for (int odd = 0; odd < 2; ++odd) {
                move_strip<L>(words[2 * odd], scale, x + first, cosines + first, bases + first, px[odd] + first);
                move_strip<L>(words[2 * odd + 1], scale, y + first, sines + first, bases + first, py[odd] + first);
            }
        }
        for (int odd = 0; odd < 2 && 2 * pair + odd < atom.lines; ++odd) {
            px[odd][vertices] = px[odd][0];
            py[odd][vertices] = py[odd][0];
            int on_canvas = 0, crosses = 0;
            for (int strip = 0; strip < strips; ++strip) {
                if (gone[strip]) continue;
                const int first = strip * kAtomStrip;
                alignas(64) std::int32_t state[kAtomStrip];
                AtomSegment* of_strip = segments + on_canvas;  // all stay here, or some move up
                prepare_segments<L>(px[odd] + first, py[odd] + first, size, of_strip, state);
                const int count = std::min(kAtomStrip, vertices - first);
                std::int32_t any = 0, each = kOnCanvas;
                for (int i = 0; i < kAtomStrip; ++i) {
                    any |= state[i];
                    each &= state[i];
                }
                if (any == kOffCanvas) continue;
                if (any == kOnCanvas && each == kOnCanvas && count == kAtomStrip) {
                    on_canvas += kAtomStrip;
                    continue;
                }
                for (int i = 0; i < count; ++i) {  // without branches: who is on the canvas cannot be foretold
                    segments[on_canvas] = of_strip[i];
                    on_canvas += state[i] & kOnCanvas;
                    crossing[crosses] = first + i;
                    crosses += state[i] >> 1;
                }
            }
            const std::uint8_t gray = atom_gray(plain_keys, 2 * pair + odd);
            Painter::paint(segments, on_canvas, canvas, gray);
            for (int i = 0; i < crosses; ++i) {
                const int v = crossing[i];
                draw_segment(px[odd][v], py[odd][v], px[odd][v + 1], py[odd][v + 1], size, canvas, gray);
            }
        }
        if (pair % 4 == 3) {
            interrupt.check();
            // A line moves a vertex outwards by c (1 - perlin) + wave + width, |perlin| < 0.96, |wave| <= 1.
            const auto left = static_cast<float>(atom.lines - 2 * pair - 2);
            const float along = left * std::max(0.0F, 1.01F - 0.04F * atom.coefficient);
            const float against = left * (1.01F + 1.96F * atom.coefficient + atom.line_width);
            for (int strip = 0; strip < vertices / kAtomStrip; ++strip) {
                const int first = strip * kAtomStrip;
                gone[strip] = gone[strip] || has_left<L>(px[1] + first, cosines + first, size, along, against) ||
                              has_left<L>(py[1] + first, sines + first, size, along, against);
            }
        }
    }
}

// Paints pixel by pixel. The last one of a segment is the next one's first.
template <class L>
struct PlainPainter {
    static ONEPFRAC_FN void paint(const AtomSegment* segments, int count, std::uint8_t* canvas, std::uint8_t gray) {
        for (int i = 0; i < count; ++i) {
            const AtomSegment s = segments[i];
            const int along = static_cast<std::int16_t>(s.steps & 0xFFFF), aside = s.steps >> 16;
            std::uint8_t* at = canvas + s.start;
            at[0] = gray;
            for (int k = 1; k < s.length; ++k) at[k * along + ((k * s.slope + 0x8000) >> 16) * aside] = gray;
        }
    }
};

using DrawAtom = void (*)(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas);

void draw_atom_scalar(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas);
void draw_atom_avx2(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas);
void draw_atom_avx512(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas);

}  // namespace onepfrac
