// Renders random systems, takes random pictures and draws random atoms through the AVX-512 lanes and through the scalar
// ones; prints how many differ.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "../../csrc/cpu/draw_atom.h"
#include "../../csrc/cpu/render_image.h"
#include "../../csrc/cpu/take_picture.h"
#include "../../csrc/packing.h"
#include "../../csrc/shot_packing.h"

namespace {

using namespace onepfrac;

// A view that turns, shears or only scales, two steps, a window, and a rectangle that is erased.
Shot random_shot(std::mt19937& random, int size, int canvas, int number) {
    const auto uniform = [&](double low, double high) {
        return std::uniform_real_distribution<double>(low, high)(random);
    };
    const double angle = number % 4 == 0 ? uniform(-0.6, 0.6) : 0.0, scale = uniform(0.3, 2.2) * canvas / size;
    double view[6] = {scale * std::cos(angle), -scale * std::sin(angle), 0.0,
                      scale * std::sin(angle), scale * std::cos(angle),  0.0};
    if (number % 4 == 1) view[1] = uniform(-0.3, 0.3) * scale;
    if (number % 4 == 2) view[3] = uniform(-0.3, 0.3) * scale;
    for (int axis = 0; axis < 2; ++axis) {
        view[3 * axis + 2] = 0.5 * canvas - 0.5 * size * (view[3 * axis] + view[3 * axis + 1]) + uniform(-9.0, 9.0);
    }
    const double window[6] = {1.0 / size, 0.1 / size, uniform(-0.3, 0.3), -0.1 / size, 1.0 / size, 0.0};
    const std::int8_t steps[3] = {static_cast<std::int8_t>(number % 5 + 2), 1,
                                  static_cast<std::int8_t>(number % 2 + 5)};
    const double amounts[3] = {uniform(0.1, 1.9), 128.0, 0.0};
    const std::int32_t erased[4] = {size / 4, 1, size / 2, size - 2};
    return pack_shot({view, steps, amounts, window, erased, random()}, size);
}

bool pictures_differ(std::mt19937& random, int number) {
    const int size = (number % 3 == 0 ? 16 : 33) + 8 * (number % 4), side = number % 2 == 0 ? 100 : 237;
    std::vector<std::uint32_t> bits(static_cast<std::size_t>(side * words_per_row(side)));
    for (int row = 0; row < side; ++row) {
        for (int j = 0; j < words_per_row(side); ++j) {
            bits[static_cast<std::size_t>(row * words_per_row(side) + j)] =
                row % 50 < 30 ? static_cast<std::uint32_t>(random()) & columns_of_word(side, j) : 0U;
        }
    }
    std::vector<std::uint8_t> grays(static_cast<std::size_t>(side * side));
    for (std::uint8_t& gray : grays) gray = static_cast<std::uint8_t>(random());
    const Canvas canvas{number % 5 == 0 ? nullptr : bits.data(), number % 5 == 0 ? grays.data() : nullptr, side, side};
    constexpr PixelType kTypes[] = {PixelType::kUint8, PixelType::kBfloat16, PixelType::kFloat32};
    std::vector<std::uint32_t> values(256 + kNoiseLevels);
    for (std::uint32_t& value : values) value = static_cast<std::uint32_t>(random());
    const Film film{.size = size,
                    .channels = number % 3 + 1,
                    .channels_last = number % 7 == 0,
                    .bilinear = number % 6 == 0,
                    .type = kTypes[number % 3],
                    .table_rows = 1,
                    .table = values.data(),
                    .noise = values.data() + 256,
                    .out = nullptr};
    const Shot shot = random_shot(random, size, side, number);
    std::vector<std::byte> expected(static_cast<std::size_t>(12 * size * size), std::byte{1});
    std::vector<std::byte> got = expected;
    Arena arena;
    take_picture_avx512(film, shot, canvas, arena, got.data());
    take_picture_scalar(film, shot, canvas, arena, expected.data());
    return got != expected;
}

bool atoms_differ(std::mt19937& random, int number) {
    const auto uniform = [&](float low, float high) {
        return std::uniform_real_distribution<float>(low, high)(random);
    };
    const int size = 8 + 31 * (number % 9);
    const Atom atom{.key = {static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())},
                    .vertices = 3 + 17 * number,
                    .lines = 1 + 7 * (number % 30),
                    .wave = {number % 21, number % 13},
                    .coefficient = uniform(0.0F, 9.0F),
                    .line_width = 0.01F,
                    .radius = uniform(0.0F, 200.0F),
                    .oval = {uniform(1.0F, 2.0F), uniform(1.0F, 2.0F)},
                    .centre = {uniform(-9.0F, 200.0F), uniform(0.0F, 99.0F)}};
    const auto pixels = static_cast<std::size_t>(size * size);
    std::vector<std::uint8_t> expected(pixels, 1), got(pixels, 2);
    Arena arena;
    Interrupt never;
    draw_atom_avx512(atom, size, arena, never, got.data());
    draw_atom_scalar(atom, size, arena, never, expected.data());
    return got != expected;
}

}  // namespace

int main() {
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
    for (int number = 0; number < 240; ++number, ++cases) differ += pictures_differ(random, number) ? 1 : 0;
    for (int number = 0; number < 120; ++number, ++cases) differ += atoms_differ(random, number) ? 1 : 0;
    std::printf("%d cases, %d differ\n", cases, differ);
}
