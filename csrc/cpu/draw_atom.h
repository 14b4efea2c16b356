// One Visual Atom on the CPU (visual_atom.h says what is drawn). Draws come from Philox in lanes; moving the vertices
// and preparing the segments are plain loops over arrays that the compiler turns into vector code; segments within the
// canvas are painted without tests, by whatever the instruction set offers.
//
// The vertices of the two halves lie apart, each half followed by room for one more vertex and rounded up to whole
// strips, so that loops may run over their ends.
#pragma once

#include <algorithm>
#include <cstring>

#include "../visual_atom.h"
#include "arena.h"

namespace onepfrac {

inline constexpr int kAtomStrip = 32;  // vertices, or segments, at a time: what is between two loops stays in L1

// Longest segment whose pixels follow from a slope of 16 bits: floor(i m / n + 1/2) = (i slope + 2^15) >> 16 for all
// i <= n, with slope = floor(2^16 m / n) + 1, as long as n n < 2^15.
inline constexpr int kShortSegment = 181;

// Segments ready to be painted, with both ends on the canvas.
struct AtomSegments {
    alignas(64) std::int32_t start[kAtomStrip];   // its first pixel's offset
    alignas(64) std::int32_t length[kAtomStrip];  // n, steps of the longer axis
    alignas(64) std::int32_t slope[kAtomStrip];   // 2^16 m / n
    alignas(64) std::int32_t steps[kAtomStrip];   // offsets of a step along the longer axis (low half) and the other
    alignas(64) std::int32_t state[kAtomStrip];
};
enum AtomSegmentState : std::int32_t { kOffCanvas = 0, kOnCanvas = 1, kCrossing = 2 };

struct AtomArrays {
    float *x, *y, *cosines, *sines, *bases;
    std::int32_t *px, *py;  // places in whole pixels
};

// The segments from vertices first .. first + kAtomStrip - 1 to the next of each.
template <class L>
ONEPFRAC_FN void prepare_segments(const std::int32_t* __restrict__ px, const std::int32_t* __restrict__ py, int size,
                                  AtomSegments& __restrict__ out) {
    for (int i = 0; i < kAtomStrip; ++i) {
        const int x0 = px[i], y0 = py[i], x1 = px[i + 1], y1 = py[i + 1];
        const int dx = x1 - x0, dy = y1 - y0;
        const int wide = dx < 0 ? -dx : dx, high = dy < 0 ? -dy : dy;
        const int right = dx < 0 ? -1 : 1, down = dy < 0 ? -size : size;
        const bool flat = wide > high;
        const int n = flat ? wide : high, m = flat ? high : wide;
        const int divisor = n > 0 ? n : 1;
        out.start[i] = y0 * size + x0;
        out.length[i] = n;
        out.slope[i] = static_cast<int>(static_cast<float>(m << 16) / static_cast<float>(divisor)) + 1;
        out.steps[i] = flat ? (right & 0xFFFF) | (down << 16) : (down & 0xFFFF) | (right << 16);
        // Bits that are set where a coordinate is negative, or beyond the canvas.
        const int last = size - 1;
        const int left = x0 & x1, above = y0 & y1, beyond = (last - x0) & (last - x1),
                  below = (last - y0) & (last - y1);
        const bool off = (left | above | beyond | below) < 0;
        const bool outside = (x0 | x1 | y0 | y1 | (last - x0) | (last - x1) | (last - y0) | (last - y1)) < 0;
        out.state[i] = off ? kOffCanvas : (outside || n > kShortSegment ? kCrossing : kOnCanvas);
    }
}

template <class L>
ONEPFRAC_FN void move_vertices(const std::uint32_t* __restrict__ words_x, const std::uint32_t* __restrict__ words_y,
                               float scale, int size, float* __restrict__ x, float* __restrict__ y,
                               const float* __restrict__ cosines, const float* __restrict__ sines,
                               const float* __restrict__ bases, std::int32_t* __restrict__ px,
                               std::int32_t* __restrict__ py) {
    static_cast<void>(size);
    for (int i = 0; i < kAtomStrip; ++i) {
        x[i] = atom_moved(x[i], cosines[i], bases[i], scale, words_x[i]);
        px[i] = static_cast<std::int32_t>(x[i]);
    }
    for (int i = 0; i < kAtomStrip; ++i) {
        y[i] = atom_moved(y[i], sines[i], bases[i], scale, words_y[i]);
        py[i] = static_cast<std::int32_t>(y[i]);
    }
}

template <class L, class Painter>
void draw_atom(const Atom& atom, int size, Arena& arena, std::uint8_t* canvas) {
    const Arena::Mark mark(arena);
    const int half = atom_half(atom.vertices), strips = half / kAtomStrip + 1, room = strips * kAtomStrip;
    const int of_half[2] = {half, atom.vertices - half};
    const auto all = static_cast<std::size_t>(2 * room + kAtomStrip);
    const AtomArrays a{arena.take<float>(all),       arena.take<float>(all), arena.take<float>(all),
                       arena.take<float>(all),       arena.take<float>(all), arena.take<std::int32_t>(all),
                       arena.take<std::int32_t>(all)};
    for (int part = 0; part < 2; ++part) {
        for (int i = 0; i < room; ++i) {
            const int at = part * room + i;
            // Beyond the last vertex there is any number that stays finite.
            const int v = std::min(part * half + i, atom.vertices - 1);
            const AtomVertex vertex = atom_vertex(atom, v);
            a.cosines[at] = vertex.cos;
            a.sines[at] = vertex.sin;
            a.bases[at] = vertex.base;
            a.x[at] = atom_start(atom, 0, vertex.cos);
            a.y[at] = atom_start(atom, 1, vertex.sin);
        }
    }
    std::memset(canvas, 0, static_cast<std::size_t>(size) * static_cast<std::size_t>(size));

    const RoundKeys<L> keys(atom.key);
    const RoundKeys<ScalarLanes> plain_keys(atom.key);
    const float scale = 0.4F * atom.coefficient;
    for (int line = 0; line < atom.lines; ++line) {
        for (int strip = 0; strip < strips; ++strip) {
            const int first = strip * kAtomStrip;
            alignas(64) std::uint32_t words[4][kAtomStrip];
            for (int i = 0; i < kAtomStrip; i += L::kWidth) {
                const auto b = static_cast<std::uint32_t>(first + i);
                const PhiloxSequence<L> draws(L::add(L::iota(), L::splat_u(b)), kAtomPurpose, keys);
                const PhiloxBlock<L> block = draws.at(static_cast<std::uint32_t>(line), keys);
                for (int q = 0; q < 4; ++q) L::store_u(words[q] + i, block.word[q]);
            }
            for (int part = 0; part < 2; ++part) {
                const int at = part * room + first;
                move_vertices<L>(words[2 * part], words[2 * part + 1], scale, size, a.x + at, a.y + at, a.cosines + at,
                                 a.sines + at, a.bases + at, a.px + at, a.py + at);
            }
        }
        for (int part = 0; part < 2; ++part) {  // each half ends where the other begins
            a.px[part * room + of_half[part]] = a.px[(1 - part) * room];
            a.py[part * room + of_half[part]] = a.py[(1 - part) * room];
        }
        const std::uint8_t gray = atom_gray(plain_keys, line);
        for (int part = 0; part < 2; ++part) {
            for (int first = 0; first < of_half[part]; first += kAtomStrip) {
                const std::int32_t *px = a.px + part * room + first, *py = a.py + part * room + first;
                AtomSegments segments;
                prepare_segments<L>(px, py, size, segments);
                const int count = std::min(kAtomStrip, of_half[part] - first);
                for (int i = 0; i < count; ++i) {
                    if (segments.state[i] == kOnCanvas) {
                        Painter::paint(segments, i, canvas, gray);
                    } else if (segments.state[i] == kCrossing) {
                        draw_segment(px[i], py[i], px[i + 1], py[i + 1], size, canvas, gray);
                    }
                }
            }
        }
    }
}

// Paints pixel by pixel. The last one of a segment is the next one's first.
struct PlainPainter {
    static ONEPFRAC_FN void paint(const AtomSegments& segments, int i, std::uint8_t* canvas, std::uint8_t gray) {
        const int slope = segments.slope[i], steps = segments.steps[i];
        const int along = static_cast<std::int16_t>(steps & 0xFFFF), aside = steps >> 16;
        std::uint8_t* at = canvas + segments.start[i];
        at[0] = gray;
        for (int k = 1; k < segments.length[i]; ++k) at[k * along + ((k * slope + 0x8000) >> 16) * aside] = gray;
    }
};

using DrawAtom = void (*)(const Atom& atom, int size, Arena& arena, std::uint8_t* canvas);

void draw_atom_scalar(const Atom& atom, int size, Arena& arena, std::uint8_t* canvas);
void draw_atom_avx2(const Atom& atom, int size, Arena& arena, std::uint8_t* canvas);
void draw_atom_avx512(const Atom& atom, int size, Arena& arena, std::uint8_t* canvas);

}  // namespace onepfrac
