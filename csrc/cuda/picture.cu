// The camera on the GPU: the kernel body of picture_block.h over the threads of a block, one block a picture. Where the
// canvas is drawn on the way it stays in shared memory from the first point to the finished pixel. Build: see setup.py;
// the plain version beside which it is checked is cpu/take_picture.h, and host_block.cpp runs this very body without a
// GPU.

#include "executor.h"
#include "launch.h"

namespace onepfrac {

namespace {

template <class Canvas>
__global__ void __launch_bounds__(kOrbits, 3) take_pictures_kernel(const PictureJob job) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    take_picture_block<Canvas>(threads, job, static_cast<std::int64_t>(blockIdx.x),
                               *reinterpret_cast<PictureMemory*>(shared));
}

template <int kMaps>
__global__ void __launch_bounds__(kOrbits, 3)
    draw_pictures_kernel(const BlockJob job, const Shot* shots, const Film film) {
    extern __shared__ uint4 shared[];
    BlockThreads threads;
    auto* bytes = reinterpret_cast<unsigned char*>(shared);
    draw_picture_block<kMaps>(threads, job, shots, film, static_cast<std::int64_t>(blockIdx.x),
                              *reinterpret_cast<BlockMemory*>(bytes + picture_memory_bytes(film.size)),
                              *reinterpret_cast<PictureMemory*>(bytes));
}

}  // namespace

void take_pictures_cuda(const PictureJob& job, int device, std::uintptr_t stream) {
    if (job.batch == 0) return;
    const OnDevice on_device(device);
    if (picture_memory_bytes(job.film.size) > block_limit(device)) {
        throw std::invalid_argument("size must be smaller on this device, whose blocks have " +
                                    std::to_string(block_limit(device)) + " bytes of shared memory, got " +
                                    std::to_string(job.film.size));
    }
    launch(job.canvases.bits != nullptr ? take_pictures_kernel<BlockBits> : take_pictures_kernel<BlockGrays>,
           dim3(static_cast<unsigned>(job.batch)), picture_memory_bytes(job.film.size), stream, job);
}

bool fits_block(int canvas, int size, int device) {
    return drawn_picture_bytes(canvas, size) <= block_limit(device);
}

void draw_pictures_cuda(BlockJob job, const Shot* shots, const Film& film, std::int64_t batch, int device,
                        std::uintptr_t stream) {
    if (batch == 0) return;
    const OnDevice on_device(device);
    job.band_rows = job.size;
    launch(job.num_maps == 2 ? draw_pictures_kernel<2> : draw_pictures_kernel<0>, dim3(static_cast<unsigned>(batch)),
           drawn_picture_bytes(job.size, film.size), stream, job, shots, film);
}

}  // namespace onepfrac
