// Runs the core without Python, for sanitizers and valgrind: random jobs of every kind through every instruction set,
// on one and on several threads, and through the body of the CUDA kernels; all must give the bits of the scalar code on
// one thread. Then the same from several threads at once, which share the pool, with calls among them that are
// interrupted.
//
//     driver ROUNDS    prints "N comparisons, D differ" and ends with 1 if any did

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/executor.h"
#include "../../csrc/host_block.h"
#include "../../csrc/packing.h"
#include "../../csrc/shot_packing.h"

namespace {

using namespace onepfrac;

using Bytes = std::vector<std::byte>;

// What a job draws, through the executor of the CPU or through the body of the kernels.
struct Case {
    std::size_t bytes;
    std::function<void(int threads, const std::string& level, Interrupt& interrupt, std::byte* out)> on_cpu;
    std::function<void(int threads, bool reverse, std::byte* out)> on_block;
};

class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    int below(int end) { return static_cast<int>(engine_() % static_cast<std::uint64_t>(end)); }
    std::uint64_t bits() { return engine_(); }
    double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }
    int one_of(std::initializer_list<int> values) { return values.begin()[below(static_cast<int>(values.size()))]; }

  private:
    std::mt19937_64 engine_;
};

std::vector<System> random_systems(Random& random, int batch, int num_maps) {
    std::vector<System> systems;
    for (int i = 0; i < batch; ++i) {
        std::vector<float> maps(static_cast<std::size_t>(6 * num_maps));
        std::vector<double> probabilities(static_cast<std::size_t>(num_maps));
        for (float& value : maps) value = static_cast<float>(random.uniform(-0.62, 0.62));
        for (double& value : probabilities) value = random.uniform(0.1, 1.3);
        if (random.below(7) == 0) maps[0] = 30.0F;  // orbits that run away
        systems.push_back(pack_system(maps, probabilities, random.bits()));
    }
    return systems;
}

struct Chaos {
    int batch, num_maps, size, pad;
    std::uint32_t points;
};

Chaos random_chaos(Random& random, int largest) {
    const int size = random.one_of({8, 13, 31, 32, 64, 100, 224, 300});
    return {.batch = random.below(4),
            .num_maps = random.one_of({1, 2, 2, 3, 8, 9, 16}),
            .size = std::min(size, largest),
            .pad = random.below(4),
            .points = static_cast<std::uint32_t>(random.one_of({1, 255, 256, 257, 600, 5001}))};
}

BlockJob block_job(const std::vector<System>& systems, const Chaos& chaos, Brush brush, PixelType type, void* out,
                   int band_rows) {
    return {systems.data(), chaos.num_maps, chaos.points, chaos.size, chaos.pad, brush, type, out, band_rows};
}

Case render_case(Random& random) {
    const Chaos chaos = random_chaos(random, 300);
    const auto systems = random_systems(random, chaos.batch, chaos.num_maps);
    const auto brush = static_cast<Brush>(random.below(4));
    const auto type = static_cast<PixelType>(random.below(5));
    const int band_rows = 1 + random.below(chaos.size);
    return {
        static_cast<std::size_t>(chaos.batch * image_bytes(type, chaos.size)),
        [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
            render_cpu(
                {systems.data(), chaos.batch, chaos.num_maps, chaos.points, chaos.size, chaos.pad, brush, type, out},
                threads, level, interrupt);
        },
        [=](int threads, bool reverse, std::byte* out) {
            render_host_block(block_job(systems, chaos, brush, type, out, band_rows), chaos.batch, threads, reverse);
        }};
}

Case density_case(Random& random) {
    constexpr Brush kCounted[] = {Brush::kPoint, Brush::kFill, Brush::kPatchFixed};
    const Chaos chaos = random_chaos(random, 100);
    const auto systems = random_systems(random, chaos.batch, chaos.num_maps);
    const Brush brush = kCounted[random.below(3)];
    const bool graded = random.below(2) != 0;
    const auto pixels = static_cast<std::size_t>(chaos.batch * chaos.size * chaos.size);
    return {pixels * (graded ? 1U : 4U),
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                density_cpu({systems.data(), chaos.batch, chaos.num_maps, chaos.points, chaos.size, chaos.pad, brush,
                             PixelType::kBits, nullptr},
                            graded ? nullptr : reinterpret_cast<std::uint32_t*>(out),
                            graded ? reinterpret_cast<std::uint8_t*>(out) : nullptr, threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) {
                const int rows = graded ? chaos.size : 1 + chaos.size / 3;
                const BlockJob job = block_job(systems, chaos, brush, PixelType::kBits, nullptr, rows);
                density_host_block({job, graded, graded ? nullptr : reinterpret_cast<std::int32_t*>(out),
                                    graded ? reinterpret_cast<std::uint8_t*>(out) : nullptr},
                                   chaos.batch, threads, reverse);
            }};
}

Case expand_case(Random& random) {
    const int canvases = 1 + random.below(3), batch = random.below(5), size = 8 + random.below(90);
    const auto type = static_cast<PixelType>(random.below(4));
    std::vector<std::uint32_t> words(static_cast<std::size_t>(canvases * size * words_per_row(size)));
    for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random.bits());
    std::vector<std::int64_t> which(static_cast<std::size_t>(batch));
    for (std::int64_t& number : which) number = random.below(canvases);
    const auto job = [=](std::byte* out) { return ExpandJob{words.data(), which.data(), batch, size, type, out}; };
    return {static_cast<std::size_t>(batch * image_bytes(type, size)),
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                expand_cpu(job(out), threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) { expand_host_block(job(out), threads, reverse); }};
}

// Views that turn, shear or only scale; two steps; a window; and a rectangle that is erased.
std::vector<Shot> random_shots(Random& random, int batch, int size, int canvas) {
    std::vector<Shot> shots;
    for (int i = 0; i < batch; ++i) {
        const double scale = random.uniform(0.2, 2.5) * canvas / size;
        double view[6] = {scale, 0.0, 0.0, 0.0, scale, 0.0};
        if (random.below(2) == 0) view[1] = random.uniform(-0.6, 0.6) * scale;
        if (random.below(2) == 0) view[3] = random.uniform(-0.6, 0.6) * scale;
        for (int axis = 0; axis < 2; ++axis) {
            const double middle = 0.5 * size * (view[3 * axis] + view[3 * axis + 1]);
            view[3 * axis + 2] = 0.5 * canvas - middle + random.uniform(-9.0, 9.0);
        }
        const double window[6] = {1.0 / size, 0.1 / size, random.uniform(-0.3, 0.3), -0.1 / size, 1.0 / size, 0.0};
        const std::int8_t steps[3] = {static_cast<std::int8_t>(2 + random.below(5)), 1,
                                      static_cast<std::int8_t>(5 + random.below(2))};
        const double amounts[3] = {random.uniform(0.1, 1.9), 128.0, 0.0};
        const std::int32_t erased[4] = {size / 4, 1, size / 2, size - 2};
        shots.push_back(pack_shot({view, steps, amounts, window, erased, random.bits()}, size));
    }
    return shots;
}

// A film and the tables that it shows.
struct Reel {
    Film film;
    std::vector<std::uint32_t> values;
    std::size_t bytes;

    Film onto(std::byte* out) const {
        Film copy = film;
        copy.table = values.data();
        copy.noise = values.data() + 256 * film.table_rows;
        copy.out = out;
        return copy;
    }
};

Reel random_reel(Random& random, int batch, int size) {
    constexpr PixelType kTypes[] = {PixelType::kUint8, PixelType::kFloat16, PixelType::kBfloat16, PixelType::kFloat32};
    const int channels = 1 + random.below(4);
    const PixelType type = kTypes[random.below(4)];
    const int rows = random.below(2) == 0 ? 1 : channels;
    std::vector<std::uint32_t> values(static_cast<std::size_t>(rows * (256 + kNoiseLevels)));
    for (std::uint32_t& value : values) value = static_cast<std::uint32_t>(random.bits());
    return {{.size = size,
             .channels = channels,
             .channels_last = random.below(3) == 0,
             .bilinear = random.below(3) == 0,
             .type = type,
             .table_rows = rows,
             .table = nullptr,
             .noise = nullptr,
             .out = nullptr},
            std::move(values),
            static_cast<std::size_t>(batch * channels * size * size * pixel_bytes(type))};
}

Case picture_case(Random& random) {
    const int batch = random.below(4), size = 8 + random.below(60), canvases = 1 + random.below(3);
    const int width = 8 + random.below(120), height = random.below(2) == 0 ? width : 8 + random.below(120);
    const Reel reel = random_reel(random, batch, size);
    const auto shots = random_shots(random, batch, size, width);
    const bool gray = random.below(3) == 0;
    std::vector<std::uint32_t> bits(static_cast<std::size_t>(canvases * height * words_per_row(width)));
    for (std::size_t i = 0; i < bits.size(); ++i) {
        const int word = static_cast<int>(i) % words_per_row(width);
        bits[i] = static_cast<std::uint32_t>(random.bits()) & columns_of_word(width, word);
    }
    std::vector<std::uint8_t> grays(static_cast<std::size_t>(canvases * height * width));
    for (std::uint8_t& value : grays) value = static_cast<std::uint8_t>(random.bits());
    std::vector<std::int64_t> which(static_cast<std::size_t>(batch));
    for (std::int64_t& number : which) number = random.below(canvases);
    const auto job = [=](std::byte* out) {
        return PictureJob{shots.data(),
                          batch,
                          {gray ? nullptr : bits.data(), gray ? grays.data() : nullptr, width, height, which.data()},
                          reel.onto(out)};
    };
    return {reel.bytes,
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                take_pictures_cpu(job(out), threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) { take_pictures_host_block(job(out), threads, reverse); }};
}

Case drawn_picture_case(Random& random) {
    const Chaos chaos = random_chaos(random, 224);
    const auto systems = random_systems(random, chaos.batch, chaos.num_maps);
    const auto brush = static_cast<Brush>(random.below(4));
    const int size = 8 + random.below(50);
    const Reel reel = random_reel(random, chaos.batch, size);
    const auto shots = random_shots(random, chaos.batch, size, chaos.size);
    return {reel.bytes,
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                draw_pictures_cpu({systems.data(), chaos.batch, chaos.num_maps, chaos.points, chaos.size, chaos.pad,
                                   brush, PixelType::kBits, nullptr},
                                  shots.data(), reel.onto(out), threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) {
                const BlockJob job = block_job(systems, chaos, brush, PixelType::kBits, nullptr, chaos.size);
                draw_pictures_host_block(job, shots.data(), reel.onto(out), chaos.batch, threads, reverse);
            }};
}

Case noise_case(Random& random) {
    const int batch = random.below(4), size = 8 + random.below(300);
    std::vector<std::int16_t> base(static_cast<std::size_t>(size * size));
    for (std::int16_t& value : base) value = static_cast<std::int16_t>(random.below(kBrightest + 1));
    std::vector<std::uint64_t> keys(static_cast<std::size_t>(batch));
    for (std::uint64_t& key : keys) key = random.bits();
    const int half = random.below(kBrightest + 1), band_rows = 1 + random.below(size);
    const auto job = [=](std::byte* out) {
        return NoiseJob{base.data(), keys.data(), batch, size, half, reinterpret_cast<std::uint8_t*>(out), band_rows};
    };
    return {static_cast<std::size_t>(batch * size * size),
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                draw_noise_cpu(job(out), threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) { draw_noise_host_block(job(out), threads, reverse); }};
}

Case atom_case(Random& random) {
    const int batch = random.below(3), size = 8 + random.below(120);
    std::vector<Atom> atoms;
    int most = 3;
    for (int i = 0; i < batch; ++i) {
        const auto real = [&](double low, double high) { return static_cast<float>(random.uniform(low, high)); };
        const int vertices = 3 + random.below(300);
        most = std::max(most, vertices);
        atoms.push_back({.key = {static_cast<std::uint32_t>(random.bits()), static_cast<std::uint32_t>(random.bits())},
                         .vertices = vertices,
                         .lines = 1 + random.below(30),
                         .wave = {random.below(21), random.below(21)},
                         .coefficient = real(0.0, 9.0),
                         .line_width = 0.01F,
                         .radius = real(0.0, 99.0),
                         .oval = {real(1.0, 2.0), real(1.0, 2.0)},
                         .centre = {real(-9.0, 200.0), real(0.0, 99.0)}});
    }
    const auto job = [=](std::byte* out) {
        return AtomJob{atoms.data(), batch, most, size, reinterpret_cast<std::uint8_t*>(out)};
    };
    return {static_cast<std::size_t>(batch * size * size),
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                draw_atoms_cpu(job(out), threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) { draw_atoms_host_block(job(out), threads, reverse); }};
}

Case scene_case(Random& random) {
    constexpr int kPictures = 2, kMost = 3;
    const int batch = random.below(3), size = 8 + random.below(120), side = 5 + random.below(60);
    std::vector<std::uint8_t> pictures(static_cast<std::size_t>(kPictures * side * side));
    for (std::uint8_t& grade : pictures) grade = static_cast<std::uint8_t>(random.below(2) * random.below(256));
    std::vector<Scene> scenes(static_cast<std::size_t>(batch));
    std::vector<SceneObject> objects;
    for (Scene& scene : scenes) {
        scene = {};
        scene.key = {static_cast<std::uint32_t>(random.bits()), static_cast<std::uint32_t>(random.bits())};
        scene.objects = random.below(kMost + 1);
        scene.background = random.below(2);
        for (std::int32_t& amplitude : scene.amplitude) amplitude = random.below(kMaxAmplitude + 1);
        for (Tint* tint : {&scene.hue, &scene.saturation, &scene.value}) {
            *tint = {random.below(kMaxScale), random.below(kMaxScale)};
        }
        scene.blur = random.below(2) * random.below(kMaxBlur + 1);
        for (int i = 0; i < kMost; ++i) {
            objects.push_back({random.below(kPictures), random.below(8), random.below(256), random.below(256),
                               random.below(256), 1 + random.below(2 * size), random.below(2 * size) - size / 2,
                               random.below(2 * size) - size / 2});
        }
    }
    const auto job = [=](std::byte* out) {
        return SceneJob{pictures.data(), side,  scenes.data(), objects.data(),
                        kMost,           batch, size,          reinterpret_cast<std::uint8_t*>(out),
                        nullptr};
    };
    return {static_cast<std::size_t>(batch * 3 * size * size),
            [=](int threads, const std::string& level, Interrupt& interrupt, std::byte* out) {
                paint_scenes_cpu(job(out), threads, level, interrupt);
            },
            [=](int threads, bool reverse, std::byte* out) { paint_scenes_host_block(job(out), threads, reverse); }};
}

constexpr Case (*kKinds[])(Random&) = {render_case,        density_case, expand_case, picture_case,
                                       drawn_picture_case, noise_case,   atom_case,   scene_case};

struct Tally {
    std::atomic<int> comparisons{0}, differ{0};

    void compare(const Bytes& got, const Bytes& expected) {
        ++comparisons;
        if (got != expected) ++differ;
    }
};

// Arrays begin and end with their memory, so that AddressSanitizer sees the first byte beyond.
Bytes drawn(const Case& made, int threads, const std::string& level) {
    Bytes out(made.bytes, std::byte{0x5A});
    Interrupt never;
    made.on_cpu(threads, level, never, out.data());
    return out;
}

void compare_all(const Case& made, Random& random, Tally& tally) {
    const Bytes expected = drawn(made, 1, "scalar");
    for (const std::string& level : simd_levels()) {
        for (const int threads : {1, 3}) tally.compare(drawn(made, threads, level), expected);
    }
    for (const bool reverse : {false, true}) {
        Bytes out(made.bytes, std::byte{0x5A});
        made.on_block(random.one_of({1, 7, 32}), reverse, out.data());
        tally.compare(out, expected);
    }
}

struct Enough : std::exception {};

// A call that ends in the middle, as Ctrl-C makes one end: its exception arrives, and the next call is right.
void interrupt_one(Tally& tally, std::uint64_t seed) {
    Random random(seed);
    const auto systems = random_systems(random, 8, 2);
    const RenderJob job{systems.data(), 8, 2, 400'000'000U, 64, 2, Brush::kPoint, PixelType::kBits, nullptr};
    Bytes out(static_cast<std::size_t>(8 * image_bytes(PixelType::kBits, 64)));
    RenderJob into = job;
    into.out = out.data();
    bool ended = false;
    Interrupt interrupt([]() -> bool { throw Enough(); });
    try {
        render_cpu(into, 3, "", interrupt);
    } catch (const Enough&) {
        ended = true;
    }
    ++tally.comparisons;
    if (!ended) ++tally.differ;
}

}  // namespace

int main(int count, char** words) {
    const int rounds = count > 1 ? std::stoi(words[1]) : 1;
    Tally tally;
    for (int round = 0; round < rounds; ++round) {
        Random random(static_cast<std::uint64_t>(round));
        for (const auto& kind : kKinds) compare_all(kind(random), random, tally);
    }
    std::vector<std::thread> callers;
    callers.reserve(4);
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&tally, caller, rounds] {
            for (int round = 0; round < rounds; ++round) {
                Random random(static_cast<std::uint64_t>(1000 * (caller + 1) + round));
                for (const auto& kind : kKinds) {
                    const Case made = kind(random);
                    tally.compare(drawn(made, 1 + random.below(4), ""), drawn(made, 1, "scalar"));
                }
                if (round % 4 == 0) interrupt_one(tally, random.bits());
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    std::printf("%d comparisons, %d differ\n", tally.comparisons.load(), tally.differ.load());
    return tally.differ.load() == 0 ? 0 : 1;
}
