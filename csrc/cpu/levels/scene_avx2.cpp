#include "../lanes_avx2.h"
#include "../paint_scene.h"

namespace onepfrac {

void paint_scene_avx2(const SceneJob& job, std::int64_t image, unsigned char* memory) {
    OneThread thread;
    paint_scene<Avx2Lanes>(thread, job, image, memory);
}

}  // namespace onepfrac
