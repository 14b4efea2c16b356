// What a canvas becomes in memory: uint8 0 or 127, or a float dtype holding 0 or 127/255 (round to nearest even).
#pragma once

#include "portable.h"

namespace onepfrac {

enum class PixelType : int { kUint8 = 0, kFloat16 = 1, kBfloat16 = 2, kFloat32 = 3 };

ONEPFRAC_FN int bytes_per_pixel(PixelType type) {
    return type == PixelType::kUint8 ? 1 : type == PixelType::kFloat32 ? 4 : 2;
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
    }
    return 0U;
}

}  // namespace onepfrac
