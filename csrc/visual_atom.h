// Visual Atoms: closed polylines of V vertices that grow round a centre, line after line (Takashima et al., "Visual
// Atoms: Pre-training Vision Transformers with Sinusoidal Waves", CVPR 2023, section 3, and its released renderer).
//
// Vertex v stands at the angle t = 2 pi v / V, at first on an ellipse. Before each line it moves, on each axis by
// itself:
//   x -= cos t (noise_x - width),  y -= sin t (noise_y - width),  in pixels,
//   noise = perlin c - c - sin(n1 t) / 2 - sin(n2 t) / 2.
// Then all segments are drawn in the line's gray; later lines cover earlier ones. A segment's pixels are Pillow's
// (ImageDraw.line of width 1): coordinates truncated toward zero, Bresenham's steps, both ends; pixels off the canvas
// are dropped.
//
// One-dimensional Perlin noise at a place uniform in 0 .. 10000, as released, is an independent draw each time: the
// hashes h0 and h1 of the cell's ends, of which four bits count, and the place x in the cell. Here h0 and h1 are drawn
// independently; the release takes neighbours from Perlin's permutation, which has each value of four bits 16 times:
// its noise has a standard deviation of 0.329 instead of 0.319, and the distributions differ by at most 0.016.
// Gradients are the release's: (h & 7) + 1, or -1 where h & 8 is set.
//
// Draws: Philox with the image's key. Counter (line / 2, v, 5, 0): words 0 and 1 are the noise of x and y of vertex v
// in an even line, words 2 and 3 in the odd one after it; in a word, bits 0..3 are h0, 4..7 h1, 8..31 the place times
// 2^24. Counter (line / 16, 0, 5, 1): byte line % 16, the first being the low byte of word 0, is the line's gray.
//
// Float32 in a fixed order. Threads as in block.h.
#pragma once

#include "philox.h"

namespace onepfrac {

inline constexpr Purpose kAtomPurpose = static_cast<Purpose>(5U);  // see the list in philox.h

// What an atom may be. Positions stay below 2^21 and the products of the tables below 2^24, so that all are exact.
inline constexpr int kMaxAtomVertices = 2048;
inline constexpr int kMaxAtomLines = 2000;
inline constexpr int kMaxAtomWaves = 1000;

struct Atom {
    Key key;                // the image's seed
    std::int32_t vertices;  // V
    std::int32_t lines;     // that are drawn
    std::int32_t wave[2];   // n1, n2
    float coefficient;      // c, of the noise, in pixels
    float line_width;       // in pixels a line
    float radius;           // of the start, in pixels
    float oval[2];          // factors of the radius, x and y
    float centre[2];        // x, y in pixels
};

inline constexpr int kAtomWords = static_cast<int>(sizeof(Atom) / sizeof(std::uint32_t));
static_assert(sizeof(Atom) == 4 * 13);

struct AtomJob {
    const Atom* atoms;  // [batch]
    std::int64_t batch;
    int max_vertices;  // of any atom
    int size;
    std::uint8_t* out;  // [batch, size, size]
};

struct FloatSinCos {
    float sin, cos;
};

// Of `number` / `of` turns, 0 <= number < 2^24 / 8, of <= 2048: reduced by exact integers to an eighth of a turn, then
// Taylor's series, whose first terms left out are below 2^-24. Without branches, so that loops over it are vector code.
ONEPFRAC_FN FloatSinCos sincos_of_turn(int number, int of) {
    const float whole = static_cast<float>(of);
    // Quotients are at least 1 / of away from the next integer, more than their rounding: truncation is exact.
    const int rest = number - of * static_cast<int>(static_cast<float>(number) / whole);
    const int octant = static_cast<int>(static_cast<float>(8 * rest) / whole);
    const int part = 8 * rest - octant * of;
    // Odd octants are measured back from their end.
    const int measured = (octant & 1) != 0 ? of - part : part;
    const float a = (static_cast<float>(measured) / whole) * 0.785398163F;
    const float square = a * a;
    float s = ScalarLanes::fma(square, 2.75573192e-6F, -1.98412698e-4F);
    s = ScalarLanes::fma(square, s, 8.33333333e-3F);
    s = ScalarLanes::fma(square, s, -0.166666667F);
    s = ScalarLanes::fma(square * s, a, a);
    float c = ScalarLanes::fma(square, -2.75573192e-7F, 2.48015873e-5F);
    c = ScalarLanes::fma(square, c, -1.38888889e-3F);
    c = ScalarLanes::fma(square, c, 4.16666667e-2F);
    c = ScalarLanes::fma(square, c, -0.5F);
    c = ScalarLanes::fma(square, c, 1.0F);
    // Which of the two is meant, and its sign, as factors: one product of each sum is zero.
    const auto swap = static_cast<float>(((octant + 1) >> 1) & 1);
    const float keep = 1.0F - swap;
    const auto sign_of_sine = static_cast<float>(1 - ((octant >> 1) & 2));
    const auto sign_of_cosine = static_cast<float>(1 - (((octant + 2) >> 1) & 2));
    return {sign_of_sine * ScalarLanes::fma(c, swap, s * keep), sign_of_cosine * ScalarLanes::fma(s, swap, c * keep)};
}

// What stays the same about a vertex.
struct AtomVertex {
    float cos, sin;
    float base;  // of its step: -c - sin(n1 t) / 2 - sin(n2 t) / 2 - width
};

ONEPFRAC_FN AtomVertex atom_vertex(const Atom& atom, int v) {
    const FloatSinCos at = sincos_of_turn(v, atom.vertices);
    const float first = sincos_of_turn(v * atom.wave[0], atom.vertices).sin;
    const float second = sincos_of_turn(v * atom.wave[1], atom.vertices).sin;
    const float wave = ScalarLanes::fma(0.5F, first, 0.5F * second);
    return {at.cos, at.sin, (-atom.coefficient - wave) - atom.line_width};
}

// Where a vertex stands before the first line.
ONEPFRAC_FN float atom_start(const Atom& atom, int axis, float direction) {
    return ScalarLanes::fma(direction, atom.radius * atom.oval[axis], atom.centre[axis]);
}

ONEPFRAC_FN float perlin_gradient(std::uint32_t hash) {
    const int low = static_cast<int>(hash & 7U) + 1, all = -static_cast<int>((hash >> 3) & 1U);
    return static_cast<float>(low | all);
}

// One-dimensional Perlin noise from a word, before its factor of 0.4.
ONEPFRAC_FN float perlin_of(std::uint32_t word) {
    const float x = static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24F;
    const float before = perlin_gradient(word) * x;
    const float after = perlin_gradient(word >> 4) * (x - 1.0F);
    const float fade = (x * x * x) * ScalarLanes::fma(x, ScalarLanes::fma(x, 6.0F, -15.0F), 10.0F);
    return ScalarLanes::fma(fade, after - before, before);
}

// A vertex's place on one axis after a line's move. `scale` is 0.4 c.
ONEPFRAC_FN float atom_moved(float place, float direction, float base, float scale, std::uint32_t word) {
    return ScalarLanes::fma(-direction, ScalarLanes::fma(perlin_of(word), scale, base), place);
}

ONEPFRAC_FN std::uint8_t atom_gray(const RoundKeys<ScalarLanes>& keys, int line) {
    const auto number = static_cast<std::uint32_t>(line);
    const auto block = philox4x32<ScalarLanes>(number / 16U, 0U, static_cast<std::uint32_t>(kAtomPurpose), 1U, keys);
    const std::uint32_t quarter = number % 16U / 4U;
    const std::uint32_t word = quarter == 0U   ? block.word[0]
                               : quarter == 1U ? block.word[1]
                               : quarter == 2U ? block.word[2]
                                               : block.word[3];
    return static_cast<std::uint8_t>(word >> (8U * (number % 4U)));
}

// Bresenham's line from (x0, y0) to (x1, y1), both included, as Pillow steps it: along the longer axis (y where they
// are equal), the other coordinate after i of n steps is floor(i m / n + 1/2) further. Steps off the canvas are left
// out before the loop along one axis and tested along the other.
ONEPFRAC_FN void draw_segment(int x0, int y0, int x1, int y1, int size, std::uint8_t* canvas, std::uint8_t gray) {
    const int last = size - 1;
    if ((x0 < 0 && x1 < 0) || (y0 < 0 && y1 < 0) || (x0 > last && x1 > last) || (y0 > last && y1 > last)) return;
    const int wide = x1 < x0 ? x0 - x1 : x1 - x0, high = y1 < y0 ? y0 - y1 : y1 - y0;
    const bool flat = wide > high;
    const int n = flat ? wide : high, m = flat ? high : wide;
    const bool back = flat ? x1 < x0 : y1 < y0, other_back = flat ? y1 < y0 : x1 < x0;
    const int from = flat ? x0 : y0;
    const int before = back ? from - last : -from;
    const int room = back ? from : last - from;
    const int begin = before > 0 ? before : 0, end = room < n ? room : n;
    int other = flat ? y0 : x0;
    int error = 2 * m - n;
    if (begin > 0) {
        const std::int64_t ahead = 2 * static_cast<std::int64_t>(m) * begin + n;
        const std::int64_t moved = ahead / (2 * static_cast<std::int64_t>(n));
        other += static_cast<int>(other_back ? -moved : moved);
        error = static_cast<int>(ahead - 2 * n * moved) + 2 * (m - n);
    }
    const int aside = other_back ? -1 : 1;
    for (int i = begin; i <= end; ++i) {
        const int along = back ? from - i : from + i;
        if (static_cast<unsigned>(other) <= static_cast<unsigned>(last)) {
            canvas[flat ? other * size + along : along * size + other] = gray;
        }
        const int steps = ~(error >> 31);  // all bits where it steps aside, which no processor can foretell
        other += aside & steps;
        error += 2 * m - (2 * n & steps);
    }
}

// A block's shared memory: the grays of two lines, and of each vertex its places in the lines and what stays the same.
struct AtomMemory {
    std::uint32_t gray[2];
    std::uint32_t unused[2];
    float values[1];  // [7][max_vertices]
};

ONEPFRAC_FN std::int64_t atom_memory_bytes(int max_vertices) {
    return static_cast<std::int64_t>(sizeof(AtomMemory)) + 7 * 4 * static_cast<std::int64_t>(max_vertices);
}

// One image by a block of threads, which writes it straight to memory. The segments of a line have one gray, so that
// their order is free; lines are kept apart by the barrier. Lines come in pairs, as their draws do.
template <class Threads>
ONEPFRAC_FN void draw_atom_block(Threads& threads, const AtomJob& job, std::int64_t image, AtomMemory& memory) {
    const int count = threads.count();
    const Atom& atom = job.atoms[image];
    const int vertices = atom.vertices < job.max_vertices ? atom.vertices : job.max_vertices;
    const int size = job.size, area = size * size;
    std::uint8_t* canvas = job.out + image * area;
    float *even_x = memory.values, *even_y = even_x + job.max_vertices;  // places in an even line
    float *odd_x = even_y + job.max_vertices, *odd_y = odd_x + job.max_vertices;
    float* cosines = odd_y + job.max_vertices;
    float* sines = cosines + job.max_vertices;
    float* bases = sines + job.max_vertices;

    // Vertices, and an empty canvas in words where it is made of whole ones.
    threads.each([&](int thread) {
        for (int v = thread; v < vertices; v += count) {
            const AtomVertex vertex = atom_vertex(atom, v);
            cosines[v] = vertex.cos;
            sines[v] = vertex.sin;
            bases[v] = vertex.base;
            odd_x[v] = atom_start(atom, 0, vertex.cos);
            odd_y[v] = atom_start(atom, 1, vertex.sin);
        }
        if (reinterpret_cast<std::uintptr_t>(canvas) % 16 == 0 && area % 16 == 0) {
            struct alignas(16) Quad {
                std::uint32_t part[4];
            };
            auto* quads = reinterpret_cast<Quad*>(canvas);
            for (int i = thread; i < area / 16; i += count) quads[i] = Quad{{0U, 0U, 0U, 0U}};
        } else {
            for (int i = thread; i < area; i += count) canvas[i] = 0;
        }
    });

    for (int pair = 0; 2 * pair < atom.lines; ++pair) {
        threads.each([&](int thread) {
            const RoundKeys<ScalarLanes> keys(atom.key);
            const float scale = 0.4F * atom.coefficient;
            for (int v = thread; v < vertices; v += count) {
                const PhiloxSequence<ScalarLanes> draws(static_cast<std::uint32_t>(v), kAtomPurpose, keys);
                const PhiloxBlock<ScalarLanes> block = draws.at(static_cast<std::uint32_t>(pair), keys);
                even_x[v] = atom_moved(odd_x[v], cosines[v], bases[v], scale, block.word[0]);
                even_y[v] = atom_moved(odd_y[v], sines[v], bases[v], scale, block.word[1]);
                odd_x[v] = atom_moved(even_x[v], cosines[v], bases[v], scale, block.word[2]);
                odd_y[v] = atom_moved(even_y[v], sines[v], bases[v], scale, block.word[3]);
            }
            for (int odd = thread; odd < 2; odd += count) memory.gray[odd] = atom_gray(keys, 2 * pair + odd);
        });
        for (int odd = 0; odd < 2 && 2 * pair + odd < atom.lines; ++odd) {
            threads.each([&](int thread) {
                const auto gray = static_cast<std::uint8_t>(memory.gray[odd]);
                const float *x = odd == 0 ? even_x : odd_x, *y = odd == 0 ? even_y : odd_y;
                for (int v = thread; v < vertices; v += count) {
                    const int next = v + 1 < vertices ? v + 1 : 0;
                    draw_segment(static_cast<int>(x[v]), static_cast<int>(y[v]), static_cast<int>(x[next]),
                                 static_cast<int>(y[next]), size, canvas, gray);
                }
            });
        }
    }
}

}  // namespace onepfrac
