#include "executor.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>

#include "float_environment.h"
#include "thread_pool.h"

namespace onepfrac {

namespace {

struct Level {
    std::string_view name;
    RenderImage render;
    ExpandImage expand;
    bool available;
};

// Weakest first.
std::vector<Level> all_levels() {
    std::vector<Level> levels{{"scalar", render_image_scalar, expand_image_scalar, true}};
#if defined(ONEPFRAC_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    levels.push_back({"avx2", render_image_avx2, expand_image_avx2, avx2});
    levels.push_back({"avx512", render_image_avx512, expand_image_avx512, avx512});
#else
    levels.push_back({"avx2", nullptr, nullptr, false});
    levels.push_back({"avx512", nullptr, nullptr, false});
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

// A thread's working memory, kept between calls and grown when needed.
class Scratch {
  public:
    std::byte* get(std::size_t size) {
        if (size > size_) {
            memory_.reset();
            size_ = 0;
            memory_.reset(static_cast<std::byte*>(::operator new(size, kAlignment)));
            size_ = size;
        }
        return memory_.get();
    }

  private:
    static constexpr std::align_val_t kAlignment{4096};  // a page: at an odd 64 bytes images take 6 % longer
    struct Free {
        void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
    };
    std::unique_ptr<std::byte, Free> memory_;
    std::size_t size_ = 0;
};

}  // namespace

std::vector<std::string> simd_levels() {
    std::vector<std::string> names;
    for (const Level& level : all_levels()) {
        if (level.available) names.emplace_back(level.name);
    }
    return names;
}

void render_cpu(const RenderJob& job, int threads, std::string_view level) {
    const RenderImage render = choose(level).render;
    const ScratchLayout layout = scratch_layout(job);
    const std::int64_t bytes = image_bytes(job.type, job.size);
    parallel_for(job.batch, threads, [&](std::int64_t image) {
        thread_local Scratch scratch;
        const IeeeArithmetic ieee;
        render(job, job.systems[image], layout, scratch.get(layout.size), job.out + image * bytes);
    });
}

void expand_cpu(const ExpandJob& job, int threads, std::string_view level) {
    const ExpandImage expand = choose(level).expand;
    const std::int64_t bytes = image_bytes(job.type, job.size);
    const std::int64_t words = static_cast<std::int64_t>(job.size) * words_per_row(job.size);
    parallel_for(job.batch, threads, [&](std::int64_t image) {
        expand(job.canvases + job.which[image] * words, job.size, job.type,
               static_cast<std::byte*>(job.out) + image * bytes);
    });
}

}  // namespace onepfrac
