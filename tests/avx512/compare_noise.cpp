// Draws images of noise through the AVX-512 lanes and through the scalar ones; prints how many differ.

#include <cstdio>
#include <random>
#include <vector>

#include "../../csrc/cpu/draw_noise.h"

int main() {
    using namespace onepfrac;
    std::mt19937_64 random(1);
    int cases = 0, differ = 0;
    for (const int size : {8, 13, 100, 128, 255, 256, 264, 520}) {
        for (const int half : {0, 1, 1632, kBrightest}) {
            const auto pixels = static_cast<std::size_t>(size * size);
            std::vector<std::int16_t> base(pixels);
            for (std::int16_t& value : base) value = static_cast<std::int16_t>(random() % (kBrightest + 1));
            std::vector<std::uint8_t> expected(pixels + 1, 7), got = expected;  // one more: nothing is written behind
            const NoiseJob job{base.data(), nullptr, 1, size, half, nullptr, size};
            const std::uint64_t key = random();
            draw_noise_avx512(job, key, got.data());
            draw_noise_scalar(job, key, expected.data());
            ++cases;
            differ += got == expected ? 0 : 1;
        }
    }
    std::printf("%d cases, %d differ\n", cases, differ);
    return 0;
}
