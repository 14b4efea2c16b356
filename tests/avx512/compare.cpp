// Renders random systems through the AVX-512 lanes and through the scalar ones; prints how many pictures differ.

#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "../../csrc/cpu/render_image.h"
#include "../../csrc/packing.h"

int main() {
    using namespace onepfrac;
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-0.62F, 0.62F);
    int cases = 0, differ = 0;
    for (const int num_maps : {1, 2, 3, 8, 9, 16}) {
        for (const int size : {8, 31, 64, 100, 224, 1100}) {
            for (int brush = 0; brush < 4; ++brush) {
                for (const std::uint32_t points : {1U, 255U, 257U, 5001U}) {
                    std::vector<float> maps;
                    std::vector<double> probabilities;
                    for (int i = 0; i < 6 * num_maps; ++i) maps.push_back(uniform(random));
                    for (int i = 0; i < num_maps; ++i) probabilities.push_back(0.7 + uniform(random));
                    if (cases % 7 == 0) maps[0] = 30.0F;  // orbits that run away
                    const System system = pack_system(maps, probabilities, random());
                    std::vector<std::byte> expected(static_cast<std::size_t>(size) * size * 4, std::byte{1});
                    std::vector<std::byte> got = expected;
                    const RenderJob job{&system,
                                        1,
                                        num_maps,
                                        points,
                                        size,
                                        size > 12 ? 6 : 0,
                                        static_cast<Brush>(brush),
                                        static_cast<PixelType>(cases % 4),
                                        got.data()};
                    const ScratchLayout layout = scratch_layout(job);
                    void* memory = std::aligned_alloc(64, (layout.size + 127) / 64 * 64);
                    auto* scratch = static_cast<std::byte*>(memory);
                    std::memset(memory, 7, layout.size);
                    render_image_avx512(job, system, layout, scratch, got.data());
                    std::memset(memory, 9, layout.size);
                    render_image_scalar(job, system, layout, scratch, expected.data());
                    std::free(memory);
                    ++cases;
                    differ += got == expected ? 0 : 1;
                }
            }
        }
    }
    std::printf("%d cases, %d differ\n", cases, differ);
}
