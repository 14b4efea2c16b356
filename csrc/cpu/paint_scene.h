// One scene on the CPU: the body of scene.h with one thread, whose loops the compiler makes vector code of.
#pragma once

#include "../scene.h"

namespace onepfrac {

using PaintScene = void (*)(const SceneJob& job, std::int64_t image, unsigned char* memory);

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
