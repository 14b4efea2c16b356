// The renderer on the GPU: the kernel body of block.h over the threads of a block, the canvas in shared memory from the
// first point to the finished pixel. One thread an orbit. Build: see setup.py; the plain version beside which it is
// checked is cpu/render_image.h, and host_block.cpp runs this very body without a GPU.

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

// Four blocks a multiprocessor: 64 registers a thread, which is enough (benchmarks/gpu_code.py counts them).
template <int kMaps>
__global__ void __launch_bounds__(kOrbits, 4) render_kernel(const BlockJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    render_block<kMaps>(threads, job, static_cast<std::int64_t>(blockIdx.x), static_cast<int>(blockIdx.y),
                        *reinterpret_cast<BlockMemory*>(shared));
}

__global__ void __launch_bounds__(kOrbits) expand_kernel(const ExpandJob job) {
    BlockThreads threads;
    expand_block(threads, job, static_cast<std::int64_t>(blockIdx.x));
}

}  // namespace

int cuda_device_count() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return 0;
    }
    return count;
}

void render_cuda(BlockJob job, std::int64_t batch, int device, std::uintptr_t stream) {
    if (batch == 0) return;
    const OnDevice on_device(device);
    const BlockLayout layout = block_layout(job.size, block_limit(device));
    job.band_rows = layout.band_rows;
    launch(job.num_maps == 2 ? render_kernel<2> : render_kernel<0>,
           dim3(static_cast<unsigned>(batch), static_cast<unsigned>(layout.bands)), layout.bytes, stream, job);
}

void expand_cuda(const ExpandJob& job, int device, std::uintptr_t stream) {
    if (job.batch == 0) return;
    const OnDevice on_device(device);
    launch(expand_kernel, dim3(static_cast<unsigned>(job.batch)), 0, stream, job);
}

}  // namespace onepfrac
