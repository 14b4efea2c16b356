// The CUDA executor: one block of threads an image, or one a band of rows where a canvas exceeds shared memory.
#pragma once

#include <cstdint>

#include "../block.h"

namespace onepfrac {

// The number of CUDA devices that can be used; 0 where there is no driver.
int cuda_device_count();

// Launches the job on a device and stream (a cudaStream_t) and returns at once. Allocates nothing, waits for nothing.
// `job.systems` and `job.out` are device memory; `job.band_rows` is chosen here. Throws std::runtime_error naming the
// CUDA call that failed.
void render_cuda(BlockJob job, std::int64_t batch, int device, std::uintptr_t stream);

// The same for stored canvases; all three arrays are device memory.
void expand_cuda(const ExpandJob& job, int device, std::uintptr_t stream);

}  // namespace onepfrac
