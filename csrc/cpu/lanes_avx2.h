// Eight lanes in AVX2 + FMA registers: the SIMD twins of ScalarLanes (portable.h).
#pragma once

// Vector types lose their alignment attribute as template arguments, which is harmless here.
#pragma GCC diagnostic ignored "-Wignored-attributes"

#include <immintrin.h>

#include "../portable.h"

namespace onepfrac {

struct Avx2Lanes {
    static constexpr int kWidth = 8;
    using F = __m256;
    using U = __m256i;
    using K = __m256i;
    using M = __m256i;
    // 32-bit values in the low halves of 64-bit lanes, even and odd lanes apart: what vpmuludq multiplies. The high
    // halves hold anything.
    struct W {
        __m256i even, odd;
    };

    static ONEPFRAC_FN F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static ONEPFRAC_FN F splat(float value) { return _mm256_set1_ps(value); }
    static ONEPFRAC_FN U splat_u(std::uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
    static ONEPFRAC_FN U iota() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
    static ONEPFRAC_FN U add(U a, U b) { return _mm256_add_epi32(a, b); }
    static ONEPFRAC_FN U bit_and(U a, U b) { return _mm256_and_si256(a, b); }
    static ONEPFRAC_FN U bit_or(U a, U b) { return _mm256_or_si256(a, b); }
    template <int kBits>
    static ONEPFRAC_FN U shift_right(U a) {
        return _mm256_srli_epi32(a, kBits);
    }
    static ONEPFRAC_FN U shift_left_by(U a, U bits) { return _mm256_sllv_epi32(a, bits); }
    static ONEPFRAC_FN M less(U a, U b) { return _mm256_cmpgt_epi32(b, a); }
    static ONEPFRAC_FN U keep(M mask, U a) { return _mm256_and_si256(mask, a); }
    static ONEPFRAC_FN F select(M mask, F yes, F no) { return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(mask)); }
    static ONEPFRAC_FN U add_mask(U count, M mask) { return _mm256_sub_epi32(count, mask); }  // + 1 where set

    static ONEPFRAC_FN F subtract(F a, F b) { return _mm256_sub_ps(a, b); }
    static ONEPFRAC_FN F min(F a, F b) { return _mm256_min_ps(a, b); }
    static ONEPFRAC_FN F max(F a, F b) { return _mm256_max_ps(a, b); }
    static ONEPFRAC_FN U truncate(F a) { return _mm256_cvttps_epi32(a); }
    static ONEPFRAC_FN F load(const float* p) { return _mm256_loadu_ps(p); }
    static ONEPFRAC_FN void store(float* p, F a) { _mm256_storeu_ps(p, a); }
    static ONEPFRAC_FN void store_u(std::uint32_t* p, U a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
    // The four words of each lane side by side, lane after lane.
    static ONEPFRAC_FN void store_blocks(std::uint32_t* p, const U (&words)[4]) {
        const U low01 = _mm256_unpacklo_epi32(words[0], words[1]), low23 = _mm256_unpacklo_epi32(words[2], words[3]);
        const U high01 = _mm256_unpackhi_epi32(words[0], words[1]), high23 = _mm256_unpackhi_epi32(words[2], words[3]);
        const U lanes[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                            _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
        auto* to = reinterpret_cast<__m128i*>(p);
        for (int k = 0; k < 4; ++k) {
            _mm_storeu_si128(to + k, _mm256_castsi256_si128(lanes[k]));
            _mm_storeu_si128(to + 4 + k, _mm256_extracti128_si256(lanes[k], 1));
        }
    }
    static ONEPFRAC_FN float first(F a) { return _mm256_cvtss_f32(a); }
    static ONEPFRAC_FN M finite(F x, F y) {  // a - a is zero for a finite a, NaN otherwise
        const F zero = _mm256_add_ps(_mm256_sub_ps(x, x), _mm256_sub_ps(y, y));
        return _mm256_castps_si256(_mm256_cmp_ps(zero, _mm256_setzero_ps(), _CMP_EQ_OQ));
    }
    static ONEPFRAC_FN M mask_and(M a, M b) { return _mm256_and_si256(a, b); }
    static ONEPFRAC_FN M mask_all() { return _mm256_set1_epi32(-1); }
    static ONEPFRAC_FN bool all(M mask) { return _mm256_movemask_ps(_mm256_castsi256_ps(mask)) == 0xFF; }
    static ONEPFRAC_FN M from_lane(std::uint32_t first_off) {  // lanes below `first_off`
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(first_off)), iota());
    }
    // y * stride + x for 0 <= x, y < 32768 and |stride| < 32768.
    static ONEPFRAC_FN U cell(U x, U y, int stride) {
        const __m256i factors = _mm256_set1_epi32(static_cast<int>((static_cast<std::uint32_t>(stride) << 16) | 1U));
        return _mm256_madd_epi16(_mm256_or_si256(x, _mm256_slli_epi32(y, 16)), factors);
    }
    // 255 at each offset, a signed number of bytes. The offsets leave through registers: stored and loaded again, they
    // would wait for the bytes stored before.
    static ONEPFRAC_FN void store_bytes(std::uint8_t* base, U offsets) {
        const __m128i low = _mm256_castsi256_si128(offsets), high = _mm256_extracti128_si256(offsets, 1);
        store_two_bytes(base, _mm_cvtsi128_si64(low));
        store_two_bytes(base, _mm_extract_epi64(low, 1));
        store_two_bytes(base, _mm_cvtsi128_si64(high));
        store_two_bytes(base, _mm_extract_epi64(high, 1));
    }
    static ONEPFRAC_FN void store_two_bytes(std::uint8_t* base, long long offsets) {
        base[static_cast<std::int32_t>(offsets)] = 255;
        base[offsets >> 32] = 255;
    }

    static ONEPFRAC_FN W widen(U a) { return {a, _mm256_srli_epi64(a, 32)}; }
    static ONEPFRAC_FN W splat_w(std::uint32_t value) { return {splat_u(value), splat_u(value)}; }
    static ONEPFRAC_FN U narrow(W a) { return _mm256_blend_epi32(a.even, _mm256_slli_epi64(a.odd, 32), 0xAA); }
    static ONEPFRAC_FN K splat_k(std::uint32_t value) { return splat_u(value); }
    static ONEPFRAC_FN W xor3(W a, W b, K c) {
        return {_mm256_xor_si256(a.even, _mm256_xor_si256(b.even, c)),
                _mm256_xor_si256(a.odd, _mm256_xor_si256(b.odd, c))};
    }
    static ONEPFRAC_FN void multiply(W a, std::uint32_t b, W& high, W& low) {
        const __m256i k = _mm256_set1_epi32(static_cast<int>(b));
        low = {_mm256_mul_epu32(a.even, k), _mm256_mul_epu32(a.odd, k)};
        high = {_mm256_srli_epi64(low.even, 32), _mm256_srli_epi64(low.odd, 32)};
    }

    // One value of each map, chosen by whether it is the first: vpermilps reads the two low bits of each lane, 3 or 0.
    struct Table2 {
        F values;
        explicit ONEPFRAC_FN Table2(const float* v) : values(_mm256_setr_ps(v[1], 0, 0, v[0], v[1], 0, 0, v[0])) {}
        ONEPFRAC_FN F at(M first) const { return _mm256_permutevar_ps(values, first); }
    };
    // One value of each map, chosen by index.
    struct Table8 {
        F low;
        explicit ONEPFRAC_FN Table8(const float* values) : low(load(values)) {}
        ONEPFRAC_FN F at(U index) const { return _mm256_permutevar8x32_ps(low, index); }
    };
    struct Table16 {
        F low, high;
        explicit ONEPFRAC_FN Table16(const float* values) : low(load(values)), high(load(values + 8)) {}
        ONEPFRAC_FN F at(U index) const {
            const M upper = _mm256_cmpgt_epi32(index, _mm256_set1_epi32(7));
            return select(upper, _mm256_permutevar8x32_ps(high, index), _mm256_permutevar8x32_ps(low, index));
        }
    };

    // One bit for each of 32 bytes that are 0 or 255.
    static ONEPFRAC_FN std::uint32_t bits_of_bytes(const std::uint8_t* bytes) {
        return static_cast<std::uint32_t>(
            _mm256_movemask_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes))));
    }
    // The bytes `value` where a bit of the word is set, zero elsewhere.
    static ONEPFRAC_FN void bytes_of_bits(std::uint32_t word, std::uint8_t value, std::uint8_t* bytes) {
        const __m256i spread = _mm256_shuffle_epi8(
            _mm256_set1_epi32(static_cast<int>(word)),
            _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
        const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes),
                            _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(value))));
    }
};

}  // namespace onepfrac
