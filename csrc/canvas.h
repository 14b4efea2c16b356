// The canvas: one bit a pixel, rows from the top of the picture, each row padded to whole 32-bit words (bit i of word j
// is column 32 j + i). Bounds to pixels, brushes, and texture.
#pragma once

#include "philox.h"

namespace onepfrac {

enum class Brush : int { kPoint = 0, kFill = 1, kPatch = 2, kPatchFixed = 3 };

struct Bounds {
    float x_min, x_max, y_min, y_max;
};

// From a coordinate to a pixel, one axis: trunc(fma(v - origin, scale, offset)).
struct Axis {
    float origin, scale, offset;
};

// An axis is degenerate where its extent is zero, lost in the rounding of its coordinates or beyond float32; then all
// points are centred on it.
ONEPFRAC_FN Axis make_axis(float low, float high, int size, int pad) {
    const float extent = high - low;
    const float magnitude_low = low < 0 ? -low : low;
    const float magnitude_high = high < 0 ? -high : high;
    const float magnitude = magnitude_low > magnitude_high ? magnitude_low : magnitude_high;
    const bool usable = extent >= 1e-30F && extent <= kFloatMax && extent > magnitude * 0x1p-20F;
    if (!usable) return {0.0F, 0.0F, 0.5F * static_cast<float>(size)};
    return {low, static_cast<float>(size - 2 * pad) / extent, static_cast<float>(pad)};
}

ONEPFRAC_FN int to_pixel(const Axis& axis, float v) {
    return static_cast<int>(ScalarLanes::fma(v - axis.origin, axis.scale, axis.offset));
}

ONEPFRAC_FN int words_per_row(int size) {
    return (size + 31) / 32;
}

// The columns of word j that are on the canvas.
ONEPFRAC_FN std::uint32_t columns_of_word(int size, int j) {
    const int columns = size - 32 * j;
    return columns >= 32 ? 0xFFFFFFFFU : (1U << (columns & 31)) - 1U;
}

// What one point inks, as nine bits: bit 3 (dy - 1) + (dx - 1) for the pixel (px + dx, py + dy), dx and dy in 1..3.
ONEPFRAC_FN std::uint32_t brush_mask(Brush brush, Key key) {
    if (brush != Brush::kPatchFixed) return 511U;
    const std::uint32_t word = philox4x32<ScalarLanes>(0U, 0U, static_cast<std::uint32_t>(Purpose::kPatchMask), 0U,
                                                       RoundKeys<ScalarLanes>(key))
                                   .word[0];
    return 1U + static_cast<std::uint32_t>((static_cast<std::uint64_t>(word) * 511U) >> 32);  // 1..511, uniform
}

// Word j of picture row `row` after every inked point has been covered by the mask. `canvas` points at picture row
// `first_row` and holds rows up to `end_row`. py grows upwards, so that a point covers the three rows above its own.
ONEPFRAC_FN std::uint32_t brushed_word(const std::uint32_t* canvas, int stride, int first_row, int end_row, int row,
                                       int j, std::uint32_t mask) {
    // A word of points with its left neighbour below it, as far as columns to the right are reached from there.
    const auto pair_at = [&](int dy) {
        if (row + dy >= end_row) return std::uint64_t{0};
        const std::uint32_t* points = canvas + static_cast<std::int64_t>(row + dy - first_row) * stride + j;
        return (static_cast<std::uint64_t>(points[0]) << 32) | (j > 0 ? points[-1] : 0U);
    };
    if (mask == 511U) {  // the full square: rows first, then columns
        const std::uint64_t rows = pair_at(1) | pair_at(2) | pair_at(3);
        return static_cast<std::uint32_t>(((rows << 1) | (rows << 2) | (rows << 3)) >> 32);
    }
    std::uint32_t word = 0;
    for (int dy = 1; dy <= 3; ++dy) {
        const std::uint64_t pair = pair_at(dy);
        const std::uint32_t bits = mask >> (3 * (dy - 1));
        for (int dx = 1; dx <= 3; ++dx) {
            const std::uint32_t shifted = static_cast<std::uint32_t>((pair << dx) >> 32);
            word |= ((bits >> (dx - 1)) & 1U) != 0U ? shifted : 0U;
        }
    }
    return word;
}

// Texture: each bit is set with probability 256/511, that of a pixel in a 3x3 patch of random bits that are not all
// zero. A plain random bit gives 1/2; a second plane adds a further 1/511 of the pixels: in each word of 32, one
// position with probability 32/511. Words 4 i .. 4 i + 3, `lanes` consecutive i at a time.
inline constexpr std::uint32_t kExtraThreshold = 8405024U;  // round(2^27 * 32 / 511)

template <class L>
ONEPFRAC_FN PhiloxBlock<L> texture_words(typename L::U block, const RoundKeys<L>& keys) {
    const typename L::U purpose = L::splat_u(static_cast<std::uint32_t>(Purpose::kTexture));
    const typename L::U zero = L::splat_u(0U);
    PhiloxBlock<L> plain = philox4x32<L>(block, zero, purpose, zero, keys);
    const PhiloxBlock<L> extra = philox4x32<L>(block, L::splat_u(1U), purpose, zero, keys);
    for (int q = 0; q < 4; ++q) {
        const typename L::U position = L::bit_and(extra.word[q], L::splat_u(31U));
        const typename L::M hit = L::less(L::template shift_right<5>(extra.word[q]), L::splat_u(kExtraThreshold));
        const typename L::U one = L::keep(hit, L::splat_u(1U));
        plain.word[q] = L::bit_or(plain.word[q], L::shift_left_by(one, position));
    }
    return plain;
}

}  // namespace onepfrac
