// AVX-512 on processors without it: SIMDe's portable implementations under the names of the intrinsics, and the few
// that SIMDe 0.7.4 lacks. Included before lanes_avx512.h (g++ -include).
#pragma once

#include <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

inline __attribute__((always_inline)) __m512i emulated_cvttps(__m512 a) {
    const simde__m512_private x = simde__m512_to_private(a);
    simde__m512i_private r;
    for (int half = 0; half < 2; ++half) r.m256i[half] = _mm256_cvttps_epi32(x.m256[half]);
    return simde__m512i_from_private(r);
}

inline __attribute__((always_inline)) __m256i emulated_maskz_set1(unsigned int mask, char value) {
    alignas(32) char bytes[32];
    for (int i = 0; i < 32; ++i) bytes[i] = (mask >> i) & 1U ? value : 0;
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
}

inline __attribute__((always_inline)) __m512i emulated_mask_shuffle(__m512i otherwise, unsigned int mask, __m512i a,
                                                                    int order) {
    const simde__m512i_private x = simde__m512i_to_private(a);
    simde__m512i_private r = simde__m512i_to_private(otherwise);
    for (int i = 0; i < 16; ++i) {
        if ((mask >> i) & 1U) r.i32[i] = x.i32[i / 4 * 4 + (order >> (2 * (i % 4)) & 3)];
    }
    return simde__m512i_from_private(r);
}

#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#define _mm512_cvttps_epi32(a) emulated_cvttps(a)
#define _mm512_cvtss_f32(a) (simde__m512_to_private(a).f32[0])
#define _mm512_cmplt_epi32_mask(a, b) simde_mm512_cmpgt_epi32_mask(b, a)
#define _mm256_maskz_set1_epi8(mask, value) emulated_maskz_set1(mask, value)
#define _mm256_movepi8_mask(a) static_cast<unsigned int>(_mm256_movemask_epi8(a))
#define _mm512_mask_shuffle_epi32(otherwise, mask, a, order) emulated_mask_shuffle(otherwise, mask, a, order)
