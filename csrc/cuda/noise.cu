// Images of noise on the GPU: the kernel body of noise_image.h over the threads of a block, one block a band of rows of
// an image. The base stays in the L2 cache (512 KiB for 512 x 512 pixels), so that what is left is Philox and one byte
// written a pixel. Build: see setup.py; the plain version beside which it is checked is cpu/draw_noise.h, and
// host_block.cpp runs this very body without a GPU.

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

constexpr int kRunsPerThread = 16;  // enough to make the start of a block cheap, few enough to fill a GPU with 8 images

__global__ void __launch_bounds__(kOrbits) noise_kernel(const NoiseJob job) {
    BlockThreads threads;
    draw_noise_block(threads, job, static_cast<std::int64_t>(blockIdx.x), static_cast<int>(blockIdx.y));
}

}  // namespace

void draw_noise_cuda(NoiseJob job, int device, std::uintptr_t stream) {
    if (job.batch == 0) return;
    const OnDevice on_device(device);
    const int rows = kRunsPerThread * static_cast<int>(kOrbits) / blocks_per_row(job.size);
    job.band_rows = rows < 1 ? 1 : rows;
    launch(noise_kernel, dim3(static_cast<unsigned>(job.batch), static_cast<unsigned>(band_count(job))), 0, stream,
           job);
}

}  // namespace onepfrac
