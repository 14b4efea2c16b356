#include "../lanes_scalar.h"
#include "../paint_scene.h"

namespace onepfrac {

void paint_scene_scalar(const SceneJob& job, std::int64_t image, unsigned char* memory) {
    OneThread thread;
    paint_scene<CpuScalarLanes>(thread, job, image, memory);
}

}  // namespace onepfrac
