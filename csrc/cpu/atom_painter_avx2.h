// Paints segments eight pixels at a time, on AVX2.
#pragma once

#include "draw_atom.h"
#include "lanes_avx2.h"

namespace onepfrac {

struct VectorPainter {
    // Whole vectors: lanes beyond the end paint the last pixel again.
    static ONEPFRAC_FN void paint(const AtomSegments& segments, int i, std::uint8_t* canvas, std::uint8_t gray) {
        const int n = segments.length[i];
        const __m256i last = _mm256_set1_epi32(n), slope = _mm256_set1_epi32(segments.slope[i]);
        const __m256i steps = _mm256_set1_epi32(segments.steps[i]), round = _mm256_set1_epi32(0x8000);
        std::uint8_t* at = canvas + segments.start[i];
        __m256i number = Avx2Lanes::iota();
        int done = 0;
        do {
            const __m256i along = _mm256_min_epi32(number, last);
            const __m256i turned = _mm256_add_epi32(_mm256_mullo_epi32(along, slope), round);
            // The number of steps aside is the upper half already.
            store_bytes(at, _mm256_madd_epi16(_mm256_blend_epi16(along, turned, 0xAA), steps), gray);
            number = _mm256_add_epi32(number, _mm256_set1_epi32(8));
            done += 8;
        } while (done < n);
    }
    static ONEPFRAC_FN void store_bytes(std::uint8_t* base, __m256i offsets, std::uint8_t value) {
        const __m128i low = _mm256_castsi256_si128(offsets), high = _mm256_extracti128_si256(offsets, 1);
        store_two_bytes(base, _mm_cvtsi128_si64(low), value);
        store_two_bytes(base, _mm_extract_epi64(low, 1), value);
        store_two_bytes(base, _mm_cvtsi128_si64(high), value);
        store_two_bytes(base, _mm_extract_epi64(high, 1), value);
    }
    static ONEPFRAC_FN void store_two_bytes(std::uint8_t* base, long long offsets, std::uint8_t value) {
        base[static_cast<std::int32_t>(offsets)] = value;
        base[offsets >> 32] = value;
    }
};

}  // namespace onepfrac
