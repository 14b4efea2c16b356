// What a canvas becomes in memory: uint8 0 or 127, a float dtype holding 0 or 127/255 (round to nearest even), or bits,
// 32 pixels of a row a word.
#pragma once

#include "canvas.h"

namespace onepfrac {

enum class PixelType : int { kUint8 = 0, kFloat16 = 1, kBfloat16 = 2, kFloat32 = 3, kBits = 4 };

ONEPFRAC_FN std::int64_t image_bytes(PixelType type, int size) {
    const std::int64_t row = type == PixelType::kBits      ? 4 * words_per_row(size)
                             : type == PixelType::kUint8   ? size
                             : type == PixelType::kFloat32 ? 4 * size
                                                           : 2 * size;
    return row * size;
}

// The bits of an inked pixel; one that is not inked is zero bits in every type.
ONEPFRAC_FN std::uint32_t ink_bits(PixelType type) {
    switch (type) {
        case PixelType::kUint8:
            return 127U;
        case PixelType::kFloat16:
            return 0x37F8U;  // 127/255 = 0.498039..., to nearest
        case PixelType::kBfloat16:
            return 0x3EFFU;
        case PixelType::kFloat32:
            return 0x3EFEFEFFU;
        case PixelType::kBits:
            return 1U;
    }
    return 0U;
}

// Stored canvases to pictures: picture i is canvas which[i].
struct ExpandJob {
    const std::uint32_t* canvases;  // [canvases, size, words a row]
    const std::int64_t* which;      // [batch]
    std::int64_t batch;
    int size;
    PixelType type;
    void* out;  // [batch, size, size]
};

}  // namespace onepfrac
