// One image of noise on the CPU: Philox over lanes, two groups of them side by side, then eight pixels a block.
#pragma once

#include "../noise_image.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace onepfrac {

#if defined(__AVX2__)
// noisy_gray() of 16 pixels in 16-bit arithmetic: vpmulhrsw is the product of epsilon with its rounding, and a sum that
// saturates at 2^15 - 1 is white as the one that it stands for.
ONEPFRAC_FN __m256i noisy_grays_16(const std::int16_t* base, const std::uint32_t* draws, __m256i half) {
    const __m256i u = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(draws));
    const __m256i epsilon = _mm256_mulhrs_epi16(_mm256_xor_si256(u, _mm256_set1_epi16(-32768)), half);
    const __m256i sum = _mm256_adds_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(base)), epsilon);
    return _mm256_srai_epi16(_mm256_adds_epi16(sum, _mm256_set1_epi16(kGrayUnits / 2)), 7);
}

// 32 pixels with the draws of four blocks.
ONEPFRAC_FN void noisy_grays_32(const std::int16_t* base, const std::uint32_t* draws, int half, std::uint8_t* out) {
    const __m256i halves = _mm256_set1_epi16(static_cast<std::int16_t>(half));
    const __m256i packed =
        _mm256_packus_epi16(noisy_grays_16(base, draws, halves), noisy_grays_16(base + 16, draws + 8, halves));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute4x64_epi64(packed, 0xD8));
}
#endif

// `count` pixels of a row with the words of their blocks, four words a block.
template <class L>
ONEPFRAC_FN void noisy_grays(const std::int16_t* base, const std::uint32_t* draws, int count, int half,
                             std::uint8_t* out) {
    int k = 0;
#if defined(__AVX2__)
    for (; k + 32 <= count; k += 32) noisy_grays_32(base + k, draws + k / 2, half, out + k);
#endif
    for (; k < count; ++k) {
        out[k] = static_cast<std::uint8_t>(noisy_gray(base[k], draws[k / 2] >> (16 * (k % 2)) & 0xFFFFU, half));
    }
}

template <class L>
void draw_noise_image(const NoiseJob& job, std::uint64_t key, std::uint8_t* out) {
    constexpr int kGroups = 2;  // one group of lanes alone waits for its own products
    constexpr int kColumns = kGroups * L::kWidth * kColumnsPerBlock;
    const RoundKeys<L> keys(noise_key(key));
    const int size = job.size;
    alignas(64) std::uint32_t words[kColumns / 2];
    for (int row = 0; row < size; ++row) {
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(row) * size;
        for (int first = 0; first < size; first += kColumns) {
            PhiloxBlock<L> blocks[kGroups];
            noise_draws<L>(first / kColumnsPerBlock, row, keys, blocks);
            for (int i = 0; i < kGroups; ++i) L::store_blocks(words + 4 * L::kWidth * i, blocks[i].word);
            const int count = kColumns < size - first ? kColumns : size - first;
            noisy_grays<L>(job.base + at + first, words, count, job.half, out + at + first);
        }
    }
}

using DrawNoise = void (*)(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);

void draw_noise_scalar(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);
void draw_noise_avx2(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);
void draw_noise_avx512(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);

}  // namespace onepfrac
