// Visual Atoms on the GPU: the kernel body of visual_atom.h over the threads of a block, one block an image. The
// vertices lie in shared memory, the canvas in the image itself, since 512 x 512 bytes exceed a block's memory. Build:
// see setup.py; the plain version beside which it is checked is cpu/draw_atom.h, and host_block.cpp runs this very body
// without a GPU.

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

__global__ void __launch_bounds__(kOrbits) draw_atoms_kernel(const AtomJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    draw_atom_block(threads, job, static_cast<std::int64_t>(blockIdx.x), *reinterpret_cast<AtomMemory*>(shared));
}

}  // namespace

void draw_atoms_cuda(const AtomJob& job, int device, std::uintptr_t stream) {
    if (job.batch == 0) return;
    const OnDevice on_device(device);
    launch(draw_atoms_kernel, dim3(static_cast<unsigned>(job.batch)), atom_memory_bytes(job.max_vertices), stream, job);
}

}  // namespace onepfrac
