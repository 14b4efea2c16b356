#include "executor.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "float_environment.h"
#include "thread_pool.h"

namespace onepfrac {

namespace {

// What is compiled for each instruction set, in levels/.
struct Level {
    std::string_view name;
    RenderImage render = nullptr;
    ExpandImage expand = nullptr;
    TakePicture take_picture = nullptr;
    CountHits count_hits = nullptr;
    DrawAtom draw_atom = nullptr;
    DrawNoise draw_noise = nullptr;
    PaintScene paint_scene = nullptr;
    bool available = false;
};

// Weakest first.
std::vector<Level> all_levels() {
    std::vector<Level> levels{{"scalar", render_image_scalar, expand_image_scalar, take_picture_scalar,
                               count_hits_scalar, draw_atom_scalar, draw_noise_scalar, paint_scene_scalar, true}};
#if defined(ONEPFRAC_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    levels.push_back({"avx2", render_image_avx2, expand_image_avx2, take_picture_avx2, count_hits_avx2, draw_atom_avx2,
                      draw_noise_avx2, paint_scene_avx2, avx2});
    levels.push_back({"avx512", render_image_avx512, expand_image_avx512, take_picture_avx512, count_hits_avx512,
                      draw_atom_avx512, draw_noise_avx512, paint_scene_avx512, avx512});
#else
    for (const std::string_view name : {"avx2", "avx512"}) levels.push_back({.name = name});
#endif
    return levels;
}

Level choose(std::string_view cap) {
    const std::vector<Level> levels = all_levels();
    Level best = levels.front();
    bool known = cap.empty();
    for (const Level& level : levels) {
        if (level.available) best = level;
        if (level.name == cap) {
            known = true;
            break;
        }
    }
    if (!known)
        throw std::invalid_argument("simd level must be scalar, avx2 or avx512, got '" + std::string(cap) + "'");
    return best;
}

// The working memory of this thread, kept between calls.
Arena& thread_arena() {
    thread_local Arena arena;
    return arena;
}

}  // namespace

std::vector<std::string> simd_levels() {
    std::vector<std::string> names;
    for (const Level& level : all_levels()) {
        if (level.available) names.emplace_back(level.name);
    }
    return names;
}

void render_cpu(RenderJob job, int threads, std::string_view level, Interrupt& interrupt) {
    const RenderImage render = choose(level).render;
    job.interrupt = &interrupt;
    const ScratchLayout layout = scratch_layout(job);
    const std::int64_t bytes = image_bytes(job.type, job.size);
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        const IeeeArithmetic ieee;
        const Arena::Mark mark(thread_arena());
        render(job, job.systems[image], layout, thread_arena().take<std::byte>(layout.size), job.out + image * bytes);
    });
}

void expand_cpu(const ExpandJob& job, int threads, std::string_view level, Interrupt& interrupt) {
    const ExpandImage expand = choose(level).expand;
    const std::int64_t bytes = image_bytes(job.type, job.size);
    const std::int64_t words = static_cast<std::int64_t>(job.size) * words_per_row(job.size);
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        expand(job.canvases + job.which[image] * words, job.size, job.type,
               static_cast<std::byte*>(job.out) + image * bytes);
    });
}

void draw_atoms_cpu(const AtomJob& job, int threads, std::string_view level, Interrupt& interrupt) {
    const DrawAtom draw = choose(level).draw_atom;
    const std::int64_t pixels = static_cast<std::int64_t>(job.size) * job.size;
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        const IeeeArithmetic ieee;
        draw(job.atoms[image], job.size, thread_arena(), interrupt, job.out + image * pixels);
    });
}

namespace {

std::byte* picture_at(const Film& film, std::int64_t image) {
    const std::int64_t pixels = static_cast<std::int64_t>(film.size) * film.size * film.channels;
    return static_cast<std::byte*>(film.out) + image * pixels * pixel_bytes(film.type);
}

}  // namespace

void take_pictures_cpu(const PictureJob& job, int threads, std::string_view level, Interrupt& interrupt) {
    const TakePicture take = choose(level).take_picture;
    const Canvases& canvases = job.canvases;
    const std::int64_t words = static_cast<std::int64_t>(canvases.height) * words_per_row(canvases.width);
    const std::int64_t pixels = static_cast<std::int64_t>(canvases.height) * canvases.width;
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        const IeeeArithmetic ieee;
        const std::int64_t number = canvases.which == nullptr ? image : canvases.which[image];
        const Canvas canvas{canvases.bits == nullptr ? nullptr : canvases.bits + number * words,
                            canvases.grays == nullptr ? nullptr : canvases.grays + number * pixels, canvases.width,
                            canvases.height};
        take(job.film, job.shots[image], canvas, thread_arena(), interrupt, picture_at(job.film, image));
    });
}

void draw_pictures_cpu(RenderJob job, const Shot* shots, const Film& film, int threads, std::string_view level,
                       Interrupt& interrupt) {
    const Level chosen = choose(level);
    job.interrupt = &interrupt;
    const ScratchLayout layout = scratch_layout(job);
    const auto words = static_cast<std::size_t>(image_bytes(PixelType::kBits, job.size) / 4);
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        const IeeeArithmetic ieee;
        Arena& arena = thread_arena();
        const Arena::Mark mark(arena);
        std::byte* scratch = arena.take<std::byte>(layout.size);
        auto* bits = arena.take<std::uint32_t>(words);
        chosen.render(job, job.systems[image], layout, scratch, reinterpret_cast<std::byte*>(bits));
        chosen.take_picture(film, shots[image], {bits, nullptr, job.size, job.size}, arena, interrupt,
                            picture_at(film, image));
    });
}

void draw_noise_cpu(const NoiseJob& job, int threads, std::string_view level, Interrupt& interrupt) {
    const DrawNoise draw = choose(level).draw_noise;
    const std::int64_t pixels = static_cast<std::int64_t>(job.size) * job.size;
    parallel_for(job.batch, threads, interrupt,
                 [&](std::int64_t image) { draw(job, job.keys[image], job.out + image * pixels); });
}

void density_cpu(RenderJob job, std::uint32_t* hits, std::uint8_t* grades, int threads, std::string_view level,
                 Interrupt& interrupt) {
    const CountHits count = choose(level).count_hits;
    job.interrupt = &interrupt;
    const ScratchLayout layout = density_scratch_layout(job);
    const std::int64_t pixels = static_cast<std::int64_t>(job.size) * job.size;
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        const IeeeArithmetic ieee;
        Arena& arena = thread_arena();
        const Arena::Mark mark(arena);
        std::byte* scratch = arena.take<std::byte>(layout.size);
        if (grades == nullptr) {
            count(job, job.systems[image], layout, scratch, hits + image * pixels, nullptr);
        } else {
            auto* counts = arena.take<std::uint32_t>(static_cast<std::size_t>(pixels));
            count(job, job.systems[image], layout, scratch, counts, grades + image * pixels);
        }
    });
}

void paint_scenes_cpu(const SceneJob& job, int threads, std::string_view level, Interrupt& interrupt) {
    const PaintScene paint = choose(level).paint_scene;
    const auto bytes = static_cast<std::size_t>(scene_layout(job.size).bytes);
    parallel_for(job.batch, threads, interrupt, [&](std::int64_t image) {
        const Arena::Mark mark(thread_arena());
        paint(job, image, thread_arena().take<unsigned char>(bytes));
    });
}

}  // namespace onepfrac
