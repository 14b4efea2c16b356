// Hits on the GPU: the kernel body of density.h over the threads of a block, counts in shared memory. One block a band
// of rows, or one a picture where grades are asked for. Build: see setup.py; the plain version beside which it is
// checked is cpu/density_image.h, and host_block.cpp runs this very body without a GPU.

#include "../density.h"

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

template <int kMaps>
__global__ void __launch_bounds__(kOrbits, 4) count_hits_kernel(const DensityJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    count_hits_block<kMaps>(threads, job, static_cast<std::int64_t>(blockIdx.x), static_cast<int>(blockIdx.y),
                            *reinterpret_cast<DensityMemory*>(shared));
}

template <int kMaps>
__global__ void __launch_bounds__(kOrbits, 4) grade_hits_kernel(const DensityJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    grade_hits_block<kMaps>(threads, job, static_cast<std::int64_t>(blockIdx.x),
                            *reinterpret_cast<DensityMemory*>(shared));
}

}  // namespace

void density_cuda(DensityJob job, std::int64_t batch, int device, std::uintptr_t stream) {
    if (batch == 0) return;
    const OnDevice on_device(device);
    const BlockLayout layout = density_layout(job.points.size, block_limit(device));
    job.points.band_rows = layout.band_rows;
    const bool two = job.points.num_maps == 2;
    const auto blocks = static_cast<unsigned>(batch);
    if (job.graded) {
        launch(two ? grade_hits_kernel<2> : grade_hits_kernel<0>, dim3(blocks), layout.bytes, stream, job);
    } else {
        launch(two ? count_hits_kernel<2> : count_hits_kernel<0>, dim3(blocks, static_cast<unsigned>(layout.bands)),
               layout.bytes, stream, job);
    }
}

}  // namespace onepfrac
