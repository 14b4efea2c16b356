// Scenes on the CPU: images over threads.
#pragma once

#include <string_view>

#include "../scene.h"

namespace onepfrac {

// Paints the whole job; its workspace is not used.
void paint_scenes_cpu(const SceneJob& job, int threads, std::string_view level);

// One scene, compiled for each instruction set.
void paint_scene_scalar(const SceneJob& job, std::int64_t image, unsigned char* memory);
void paint_scene_avx2(const SceneJob& job, std::int64_t image, unsigned char* memory);
void paint_scene_avx512(const SceneJob& job, std::int64_t image, unsigned char* memory);

// The body's only thread.
struct OneThread {
    static constexpr int count() { return 1; }
    template <class Phase>
    ONEPFRAC_FN void each(Phase&& phase) const {
        phase(0);
    }
};

}  // namespace onepfrac
