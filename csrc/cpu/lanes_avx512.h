// Sixteen lanes in AVX-512 registers (F, BW, DQ, VL): the SIMD twins of ScalarLanes (portable.h).
#pragma once

// Vector types lose their alignment attribute as template arguments, which is harmless here.
#pragma GCC diagnostic ignored "-Wignored-attributes"
// GCC bug 105593: the intrinsics that leave a source undefined warn where they are inlined.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>

#include "../portable.h"

namespace onepfrac {

struct Avx512Lanes {
    static constexpr int kWidth = 16;
    using F = __m512;
    using U = __m512i;
    using K = __m512i;
    using M = __mmask16;
    // 32-bit values in the low halves of 64-bit lanes, even and odd lanes apart: what vpmuludq multiplies. The high
    // halves hold anything.
    struct W {
        __m512i even, odd;
    };

    static ONEPFRAC_FN F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static ONEPFRAC_FN F splat(float value) { return _mm512_set1_ps(value); }
    static ONEPFRAC_FN U splat_u(std::uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
    static ONEPFRAC_FN U iota() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
    static ONEPFRAC_FN U add(U a, U b) { return _mm512_add_epi32(a, b); }
    static ONEPFRAC_FN U bit_and(U a, U b) { return _mm512_and_si512(a, b); }
    static ONEPFRAC_FN U bit_or(U a, U b) { return _mm512_or_si512(a, b); }
    template <int kBits>
    static ONEPFRAC_FN U shift_right(U a) {
        return _mm512_srli_epi32(a, kBits);
    }
    static ONEPFRAC_FN U shift_left_by(U a, U bits) { return _mm512_sllv_epi32(a, bits); }
    static ONEPFRAC_FN M less(U a, U b) { return _mm512_cmplt_epi32_mask(a, b); }
    static ONEPFRAC_FN U keep(M mask, U a) { return _mm512_maskz_mov_epi32(mask, a); }
    static ONEPFRAC_FN F select(M mask, F yes, F no) { return _mm512_mask_blend_ps(mask, no, yes); }
    static ONEPFRAC_FN U add_mask(U count, M mask) {  // + 1 where set
        return _mm512_mask_add_epi32(count, mask, count, _mm512_set1_epi32(1));
    }

    static ONEPFRAC_FN F subtract(F a, F b) { return _mm512_sub_ps(a, b); }
    static ONEPFRAC_FN F min(F a, F b) { return _mm512_min_ps(a, b); }
    static ONEPFRAC_FN F max(F a, F b) { return _mm512_max_ps(a, b); }
    static ONEPFRAC_FN U truncate(F a) { return _mm512_cvttps_epi32(a); }
    static ONEPFRAC_FN F load(const float* p) { return _mm512_loadu_ps(p); }
    static ONEPFRAC_FN void store(float* p, F a) { _mm512_storeu_ps(p, a); }
    static ONEPFRAC_FN void store_u(std::uint32_t* p, U a) { _mm512_storeu_si512(p, a); }
    // The four words of each lane side by side, lane after lane.
    static ONEPFRAC_FN void store_blocks(std::uint32_t* p, const U (&words)[4]) {
        const U low01 = _mm512_unpacklo_epi32(words[0], words[1]), low23 = _mm512_unpacklo_epi32(words[2], words[3]);
        const U high01 = _mm512_unpackhi_epi32(words[0], words[1]), high23 = _mm512_unpackhi_epi32(words[2], words[3]);
        const U lanes[4] = {_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
                            _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)};
        auto* to = reinterpret_cast<__m128i*>(p);
        for (int k = 0; k < 4; ++k) {
            _mm_storeu_si128(to + k, _mm512_castsi512_si128(lanes[k]));
            _mm_storeu_si128(to + 4 + k, _mm512_extracti32x4_epi32(lanes[k], 1));
            _mm_storeu_si128(to + 8 + k, _mm512_extracti32x4_epi32(lanes[k], 2));
            _mm_storeu_si128(to + 12 + k, _mm512_extracti32x4_epi32(lanes[k], 3));
        }
    }
    static ONEPFRAC_FN float first(F a) { return _mm512_cvtss_f32(a); }
    static ONEPFRAC_FN M finite(F x, F y) {  // a - a is zero for a finite a, NaN otherwise
        const F zero = _mm512_add_ps(_mm512_sub_ps(x, x), _mm512_sub_ps(y, y));
        return _mm512_cmp_ps_mask(zero, _mm512_setzero_ps(), _CMP_EQ_OQ);
    }
    static ONEPFRAC_FN M mask_and(M a, M b) { return static_cast<M>(a & b); }
    static ONEPFRAC_FN M mask_all() { return 0xFFFF; }
    static ONEPFRAC_FN bool all(M mask) { return mask == 0xFFFF; }
    static ONEPFRAC_FN M from_lane(std::uint32_t first_off) {  // lanes below `first_off`
        return _mm512_cmplt_epi32_mask(iota(), _mm512_set1_epi32(static_cast<int>(first_off)));
    }
    // y * stride + x for 0 <= x, y < 32768 and |stride| < 32768.
    static ONEPFRAC_FN U cell(U x, U y, int stride) {
        const __m512i factors = _mm512_set1_epi32(static_cast<int>((static_cast<std::uint32_t>(stride) << 16) | 1U));
        return _mm512_madd_epi16(_mm512_or_si512(x, _mm512_slli_epi32(y, 16)), factors);
    }
    // 255 at each offset, a signed number of bytes. The offsets leave through registers: stored and loaded again, they
    // would wait for the bytes stored before.
    static ONEPFRAC_FN void store_bytes(std::uint8_t* base, U offsets) {
        store_four_bytes(base, _mm512_castsi512_si128(offsets));
        store_four_bytes(base, _mm512_extracti32x4_epi32(offsets, 1));
        store_four_bytes(base, _mm512_extracti32x4_epi32(offsets, 2));
        store_four_bytes(base, _mm512_extracti32x4_epi32(offsets, 3));
    }
    static ONEPFRAC_FN void store_four_bytes(std::uint8_t* base, __m128i offsets) {
        store_two_bytes(base, _mm_cvtsi128_si64(offsets));
        store_two_bytes(base, _mm_extract_epi64(offsets, 1));
    }
    static ONEPFRAC_FN void store_two_bytes(std::uint8_t* base, long long offsets) {
        base[static_cast<std::int32_t>(offsets)] = 255;
        base[offsets >> 32] = 255;
    }

    static ONEPFRAC_FN W widen(U a) { return {a, _mm512_srli_epi64(a, 32)}; }
    static ONEPFRAC_FN W splat_w(std::uint32_t value) { return {splat_u(value), splat_u(value)}; }
    static ONEPFRAC_FN U narrow(W a) {  // the low half of each odd lane goes into the high half of the even one
        return _mm512_mask_shuffle_epi32(a.even, 0xAAAA, a.odd, _MM_PERM_CCAA);
    }
    static ONEPFRAC_FN K splat_k(std::uint32_t value) { return splat_u(value); }
    static ONEPFRAC_FN W xor3(W a, W b, K c) {
        return {_mm512_ternarylogic_epi32(a.even, b.even, c, 0x96), _mm512_ternarylogic_epi32(a.odd, b.odd, c, 0x96)};
    }
    static ONEPFRAC_FN void multiply(W a, std::uint32_t b, W& high, W& low) {
        const __m512i k = _mm512_set1_epi32(static_cast<int>(b));
        low = {_mm512_mul_epu32(a.even, k), _mm512_mul_epu32(a.odd, k)};
        high = {_mm512_srli_epi64(low.even, 32), _mm512_srli_epi64(low.odd, 32)};
    }

    // One value of each map, chosen by whether it is the first.
    struct Table2 {
        F first_value, second_value;
        explicit ONEPFRAC_FN Table2(const float* v) : first_value(splat(v[0])), second_value(splat(v[1])) {}
        ONEPFRAC_FN F at(M first) const { return select(first, first_value, second_value); }
    };
    // One value of each map, chosen by index.
    struct Table16 {
        F values;
        explicit ONEPFRAC_FN Table16(const float* p) : values(load(p)) {}
        ONEPFRAC_FN F at(U index) const { return _mm512_permutexvar_ps(index, values); }
    };
    using Table8 = Table16;

    // One bit for each of 32 bytes that are 0 or 255.
    static ONEPFRAC_FN std::uint32_t bits_of_bytes(const std::uint8_t* bytes) {
        return _mm256_movepi8_mask(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
    }
    // The bytes `value` where a bit of the word is set, zero elsewhere.
    static ONEPFRAC_FN void bytes_of_bits(std::uint32_t word, std::uint8_t value, std::uint8_t* bytes) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes), _mm256_maskz_set1_epi8(word, static_cast<char>(value)));
    }
};

}  // namespace onepfrac
