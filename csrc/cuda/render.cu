// The renderer on the GPU: the kernel body of block.h over the threads of a block, the canvas in shared memory from the
// first point to the finished pixel. One thread an orbit. Build: see setup.py; the plain version beside which it is
// checked is cpu/render_image.h, and host_block.cpp runs this very body without a GPU.

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "executor.h"

namespace onepfrac {

namespace {

struct BlockThreads {
    __device__ int count() const { return static_cast<int>(kOrbits); }

    template <class Phase>
    __device__ void each(Phase&& phase) const {
        phase(static_cast<int>(threadIdx.x));
        __syncthreads();
    }

    static __device__ void atomic_min(std::int32_t* at, std::int32_t value) { atomicMin(at, value); }
    static __device__ void atomic_max(std::int32_t* at, std::int32_t value) { atomicMax(at, value); }
    static __device__ void atomic_or(std::uint32_t* at, std::uint32_t value) { atomicOr(at, value); }
};

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

void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    throw std::runtime_error(std::string(call) + " failed: " + cudaGetErrorString(status));
}

// Makes a device current, and the one before current again.
class OnDevice {
  public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        if (before_ != device) check(cudaSetDevice(device), "cudaSetDevice");
    }
    ~OnDevice() { static_cast<void>(cudaSetDevice(before_)); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    int before_ = 0;
};

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
    int limit = 0;
    check(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
    const BlockLayout layout = block_layout(job.size, limit);
    job.band_rows = layout.band_rows;
    const auto bytes = static_cast<std::size_t>(layout.bytes);

    auto* kernel = job.num_maps == 2 ? render_kernel<2> : render_kernel<0>;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "cudaFuncSetAttribute");
    void* arguments[] = {&job};
    check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel),
                           dim3(static_cast<unsigned>(batch), static_cast<unsigned>(layout.bands)), dim3(kOrbits),
                           arguments, bytes, reinterpret_cast<cudaStream_t>(stream)),
          "cudaLaunchKernel");
}

void expand_cuda(const ExpandJob& job, int device, std::uintptr_t stream) {
    if (job.batch == 0) return;
    const OnDevice on_device(device);
    ExpandJob copy = job;
    void* arguments[] = {&copy};
    check(cudaLaunchKernel(reinterpret_cast<const void*>(expand_kernel), dim3(static_cast<unsigned>(job.batch)),
                           dim3(kOrbits), arguments, 0, reinterpret_cast<cudaStream_t>(stream)),
          "cudaLaunchKernel");
}

}  // namespace onepfrac
