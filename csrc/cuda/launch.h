// What the CUDA files share: the threads of a block, checked calls, and the choice of a device.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "../chaos_game.h"

namespace onepfrac {

struct BlockThreads {
    __device__ int count() const { return static_cast<int>(kOrbits); }

    template <class Phase>
    __device__ void each(Phase&& phase) const {
        phase(static_cast<int>(threadIdx.x));
        __syncthreads();
    }

    static __device__ void atomic_min(std::int32_t* at, std::int32_t value) { atomicMin(at, value); }
    static __device__ void atomic_max(std::int32_t* at, std::int32_t value) { atomicMax(at, value); }
    static __device__ void atomic_add(std::uint32_t* at, std::uint32_t value) { atomicAdd(at, value); }
    static __device__ void atomic_or(std::uint32_t* at, std::uint32_t value) { atomicOr(at, value); }
};

inline void check(cudaError_t status, const char* call) {
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

// The shared memory that a block of a device may have, in bytes.
inline int block_limit(int device) {
    int limit = 0;
    check(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
    return limit;
}

// Launches kernel(arguments...) with kOrbits threads a block.
template <class... Arguments>
void launch(void (*kernel)(Arguments...), dim3 blocks, std::int64_t shared_bytes, std::uintptr_t stream,
            Arguments... arguments) {
    const auto bytes = static_cast<std::size_t>(shared_bytes);
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "cudaFuncSetAttribute");
    void* pointers[] = {&arguments...};
    check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), blocks, dim3(kOrbits), pointers, bytes,
                           reinterpret_cast<cudaStream_t>(stream)),
          "cudaLaunchKernel");
}

}  // namespace onepfrac
