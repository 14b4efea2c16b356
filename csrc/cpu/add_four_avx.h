// Counting, four pixels at a time: the offsets leave the vector through registers, not through memory (count_buffer in
// count_hits.h says why).
#pragma once

#include <immintrin.h>

#include "../portable.h"

namespace onepfrac {

// Adds 1 to the words of `base` at the two signed 32-bit offsets in one number.
ONEPFRAC_FN void add_two(std::uint32_t* base, long long offsets) {
    ++base[static_cast<std::int32_t>(offsets)];
    ++base[offsets >> 32];
}

ONEPFRAC_FN void add_four(std::uint32_t* base, __m128i offsets) {
    add_two(base, _mm_cvtsi128_si64(offsets));
    add_two(base, _mm_extract_epi64(offsets, 1));
}

}  // namespace onepfrac
