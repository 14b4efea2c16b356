// One image of noise on the CPU: Philox over lanes, then pixels in a plain loop that the compiler turns into 16-bit
// vector instructions.
#pragma once

#include "../noise_image.h"

namespace onepfrac {

template <class L>
void draw_noise_image(const NoiseJob& job, std::uint64_t key, std::uint8_t* out) {
    constexpr int kStates = 2;  // side by side: one group of lanes waits for its own products
    constexpr int kColumns = kStates * L::kWidth * kColumnsPerBlock;
    const RoundKeys<L> keys(noise_key(key));
    const int size = job.size, half = job.half;
    alignas(64) std::uint32_t words[kColumns / 2];
    alignas(64) std::uint16_t draws[kColumns];
    for (int row = 0; row < size; ++row) {
        const std::int16_t* base = job.base + static_cast<std::ptrdiff_t>(row) * size;
        std::uint8_t* grays = out + static_cast<std::ptrdiff_t>(row) * size;
        for (int first = 0; first < size; first += kColumns) {
            PhiloxBlock<L> blocks[kStates];
            noise_draws<L>(first / kColumnsPerBlock, row, keys, blocks);
            for (int i = 0; i < kStates; ++i) L::store_blocks(words + 4 * L::kWidth * i, blocks[i].word);
            for (int k = 0; k < kColumns / 2; ++k) {
                draws[2 * k] = static_cast<std::uint16_t>(words[k]);
                draws[2 * k + 1] = static_cast<std::uint16_t>(words[k] >> 16);
            }
            if (first + kColumns <= size) {  // a count known to the compiler needs no rest
                for (int k = 0; k < kColumns; ++k) {
                    grays[first + k] = static_cast<std::uint8_t>(noisy_gray(base[first + k], draws[k], half));
                }
            } else {
                for (int k = 0; k < size - first; ++k) {
                    grays[first + k] = static_cast<std::uint8_t>(noisy_gray(base[first + k], draws[k], half));
                }
            }
        }
    }
}

using DrawNoise = void (*)(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);

void draw_noise_scalar(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);
void draw_noise_avx2(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);
void draw_noise_avx512(const NoiseJob& job, std::uint64_t key, std::uint8_t* out);

}  // namespace onepfrac
