// Hits on the GPU: the kernel body of density.h over the threads of a block, counts in shared memory. One block a band
// of rows, or one a picture where grades are asked for. Build: see setup.py; the plain version beside which it is
// checked is cpu/count_hits.h, and host_block.cpp runs this very body without a GPU.

#include "../density.h"

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

// For any number of maps: kernels for two would double the time that this file takes to compile, 40 s an architecture.
__global__ void __launch_bounds__(kOrbits, 4) count_hits_kernel(const DensityJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    count_hits_block<0>(threads, job, static_cast<std::int64_t>(blockIdx.x), static_cast<int>(blockIdx.y),
                        *reinterpret_cast<DensityMemory*>(shared));
}

__global__ void __launch_bounds__(kOrbits, 4) grade_hits_kernel(const DensityJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    grade_hits_block<0>(threads, job, static_cast<std::int64_t>(blockIdx.x), *reinterpret_cast<DensityMemory*>(shared));
}

}  // namespace

void density_cuda(DensityJob job, std::int64_t batch, int device, std::uintptr_t stream) {
    if (batch == 0) return;
    const OnDevice on_device(device);
    const BlockLayout layout = density_layout(job.points.size, block_limit(device));
    job.points.band_rows = layout.band_rows;
    const auto blocks = static_cast<unsigned>(batch);
    if (job.graded) {
        launch(grade_hits_kernel, dim3(blocks), layout.bytes, stream, job);
    } else {
        launch(count_hits_kernel, dim3(blocks, static_cast<unsigned>(layout.bands)), layout.bytes, stream, job);
    }
}

}  // namespace onepfrac
