// Counts the hits of random systems, and paints random scenes, through the AVX-512 lanes and through the scalar ones;
// prints how many differ.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "../../csrc/cpu/count_hits.h"
#include "../../csrc/cpu/paint_scene.h"
#include "../../csrc/packing.h"

namespace {

using namespace onepfrac;

bool hits_differ(const RenderJob& job, const System& system) {
    const ScratchLayout layout = density_scratch_layout(job);
    const auto pixels = static_cast<std::size_t>(job.size) * static_cast<std::size_t>(job.size);
    std::vector<std::uint32_t> hits[2];
    std::vector<std::uint8_t> grades[2];
    auto* scratch = static_cast<std::byte*>(std::aligned_alloc(64, (layout.size + 127) / 64 * 64));
    for (int i = 0; i < 2; ++i) {
        hits[i].assign(pixels, 7U);
        grades[i].assign(pixels, 7U);
        std::memset(scratch, 7 + i, layout.size);
        (i == 0 ? count_hits_avx512 : count_hits_scalar)(job, system, layout, scratch, hits[i].data(),
                                                         grades[i].data());
    }
    std::free(scratch);
    return hits[0] != hits[1] || grades[0] != grades[1];
}

bool scenes_differ(std::mt19937& random, int number) {
    const auto below = [&](int end) { return static_cast<std::int32_t>(random() % static_cast<unsigned>(end)); };
    const int size = 8 + 23 * number, side = 5 + 9 * number;
    std::vector<std::uint8_t> pictures(static_cast<std::size_t>(2 * side * side));
    for (std::uint8_t& grade : pictures) grade = static_cast<std::uint8_t>(below(2) * below(256));
    std::vector<SceneObject> objects(3);
    for (SceneObject& object : objects) {
        object = {below(2), below(8), below(256), below(256), below(256), 1 + below(size), below(size), below(size)};
    }
    Scene scene{};
    scene.key = {static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())};
    scene.objects = 3;
    scene.background = 1;
    for (std::int32_t& amplitude : scene.amplitude) amplitude = below(kMaxAmplitude + 1);
    for (Tint* tint : {&scene.hue, &scene.saturation, &scene.value}) *tint = {below(kMaxScale), below(kMaxScale)};
    scene.blur = below(2) * below(kMaxBlur);
    std::vector<std::uint8_t> painted[2];
    std::vector<std::uint64_t> memory(static_cast<std::size_t>(scene_layout(size).bytes) / 8);
    for (int i = 0; i < 2; ++i) {
        painted[i].assign(static_cast<std::size_t>(3 * size * size), 9U);
        const SceneJob job{pictures.data(), side, &scene, objects.data(), 3, 1, size, painted[i].data(), nullptr};
        (i == 0 ? paint_scene_avx512 : paint_scene_scalar)(job, 0, reinterpret_cast<unsigned char*>(memory.data()));
    }
    return painted[0] != painted[1];
}

}  // namespace

int main() {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-0.62F, 0.62F);
    int cases = 0, differ = 0;
    for (const int num_maps : {1, 2, 3, 8, 9, 16}) {
        for (const int size : {8, 31, 64, 100, 224}) {
            for (const Brush brush : {Brush::kPoint, Brush::kFill, Brush::kPatchFixed}) {
                for (const std::uint32_t points : {1U, 255U, 257U, 5001U}) {
                    std::vector<float> maps;
                    std::vector<double> probabilities;
                    for (int i = 0; i < 6 * num_maps; ++i) maps.push_back(uniform(random));
                    for (int i = 0; i < num_maps; ++i) probabilities.push_back(0.7 + uniform(random));
                    if (cases % 7 == 0) maps[0] = 30.0F;  // orbits that run away
                    const System system = pack_system(maps, probabilities, random());
                    const int pad = size > 12 && cases % 2 == 0 ? 6 : 0;
                    const RenderJob job{&system, 1, num_maps, points, size, pad, brush, PixelType::kBits, nullptr};
                    ++cases;
                    differ += hits_differ(job, system) ? 1 : 0;
                }
            }
        }
    }
    for (int number = 0; number < 10; ++number, ++cases) differ += scenes_differ(random, number) ? 1 : 0;
    std::printf("%d cases, %d differ\n", cases, differ);
}
