#include "scene_executor.h"

#include "executor.h"
#include "thread_pool.h"

namespace onepfrac {

void paint_scenes_cpu(const SceneJob& job, int threads, std::string_view level) {
    auto* paint = &paint_scene_scalar;
    [[maybe_unused]] const std::string_view best = best_level(level);
#if defined(ONEPFRAC_X86)
    if (best == "avx512") paint = &paint_scene_avx512;
    if (best == "avx2") paint = &paint_scene_avx2;
#endif
    const auto bytes = static_cast<std::size_t>(scene_layout(job.size).bytes);
    parallel_for(job.batch, threads, [&](std::int64_t image) {
        const Arena::Mark mark(thread_arena());
        paint(job, image, thread_arena().take<unsigned char>(bytes));
    });
}

}  // namespace onepfrac
