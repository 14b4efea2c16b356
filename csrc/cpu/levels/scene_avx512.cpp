#include "../lanes_avx512.h"
#include "../paint_scene.h"

namespace onepfrac {

void paint_scene_avx512(const SceneJob& job, std::int64_t image, unsigned char* memory) {
    OneThread thread;
    paint_scene<Avx512Lanes>(thread, job, image, memory);
}

}  // namespace onepfrac
