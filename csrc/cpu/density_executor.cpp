#include "density_executor.h"

#include "executor.h"
#include "float_environment.h"
#include "thread_pool.h"

namespace onepfrac {

namespace {

CountHits choose_count_hits([[maybe_unused]] std::string_view level) {
#if defined(ONEPFRAC_X86)
    if (level == "avx512") return count_hits_avx512;
    if (level == "avx2") return count_hits_avx2;
#endif
    return count_hits_scalar;
}

}  // namespace

void density_cpu(const RenderJob& job, std::uint32_t* hits, std::uint8_t* grades, int threads, std::string_view level) {
    const CountHits count = choose_count_hits(best_level(level));
    const ScratchLayout layout = density_scratch_layout(job);
    const std::int64_t pixels = static_cast<std::int64_t>(job.size) * job.size;
    parallel_for(job.batch, threads, [&](std::int64_t image) {
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

}  // namespace onepfrac
