// Paints segments eight pixels at a time, on AVX2.
#pragma once

#include "draw_atom.h"
#include "lanes_avx2.h"

namespace onepfrac {

// All segments' first eight pixels, then the next eight of those that have more, and so on: loops whose length a
// processor cannot foretell are as few as the longest segment has eights. Lanes beyond a segment's end paint its last
// pixel again. Four segments are loaded before any is painted, since loads wait for byte stores whose address is not
// known yet. There must be room for three more segments.
struct VectorPainter {
    static ONEPFRAC_FN void paint(AtomSegment* segments, int count, std::uint8_t* canvas, std::uint8_t gray) {
        for (int done = 0; count > 0; done += 8) {
            // The last ones of a group are off the end: copies of the last that go no further.
            AtomSegment again = segments[count - 1];
            again.length = std::min(again.length, done + 8);
            for (int i = count; i % kAbreast != 0; ++i) segments[i] = again;
            const __m256i number = _mm256_add_epi32(Avx2Lanes::iota(), _mm256_set1_epi32(done));
            int more = 0;
            for (int i = 0; i < count; i += kAbreast) {
                __m256i offsets[kAbreast];
                std::int64_t start[kAbreast];
                for (int k = 0; k < kAbreast; ++k) {
                    const __m128i s = _mm_load_si128(reinterpret_cast<const __m128i*>(segments + i + k));
                    offsets[k] = offsets_of(s, number);
                    start[k] = _mm_cvtsi128_si32(s);
                    _mm_store_si128(reinterpret_cast<__m128i*>(segments + more), s);
                    more += _mm_extract_epi32(s, 1) > done + 8 ? 1 : 0;
                }
                for (int k = 0; k < kAbreast; ++k) store_bytes(canvas + start[k], offsets[k], gray);
            }
            count = more;
        }
    }

  private:
    static constexpr int kAbreast = 4;

    static ONEPFRAC_FN __m256i offsets_of(__m128i segment, __m256i number) {
        const __m256i both = _mm256_broadcastsi128_si256(segment);
        const __m256i last = _mm256_shuffle_epi32(both, 0x55), slope = _mm256_shuffle_epi32(both, 0xAA);
        const __m256i steps = _mm256_shuffle_epi32(both, 0xFF);
        const __m256i along = _mm256_min_epi32(number, last);
        // The number of steps aside is the upper half already.
        const __m256i aside = _mm256_add_epi32(_mm256_mullo_epi32(along, slope), _mm256_set1_epi32(0x8000));
        return _mm256_madd_epi16(_mm256_blend_epi16(along, aside, 0xAA), steps);
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
