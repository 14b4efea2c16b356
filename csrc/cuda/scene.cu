// Scenes on the GPU: the kernel body of scene.h over the threads of a block, one block a scene, its working memory in
// the caller's workspace (half a megabyte for 224 pixels: the caches hold it). Build: see setup.py; the plain version
// beside which it is checked is cpu/paint_scene.h, and host_block.cpp runs this very body without a GPU.

#include "../scene.h"

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

__global__ void __launch_bounds__(kOrbits) paint_scenes_kernel(const SceneJob job) {
    BlockThreads threads;
    const auto image = static_cast<std::int64_t>(blockIdx.x);
    paint_scene<ScalarLanes>(threads, job, image, job.workspace + image * scene_layout(job.size).bytes);
}

}  // namespace

void paint_scenes_cuda(const SceneJob& job, int device, std::uintptr_t stream) {
    if (job.batch == 0) return;
    const OnDevice on_device(device);
    launch(paint_scenes_kernel, dim3(static_cast<unsigned>(job.batch)), 0, stream, job);
}

}  // namespace onepfrac
