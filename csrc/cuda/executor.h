// The CUDA executor: one block of threads an image, or one a band of rows where a canvas exceeds shared memory.
#pragma once

#include <cstdint>

#include "../density.h"
#include "../noise_image.h"
#include "../picture_block.h"
#include "../scene.h"
#include "../visual_atom.h"

namespace onepfrac {

// The number of CUDA devices that can be used; 0 where there is no driver.
int cuda_device_count();

// Launches the job on a device and stream (a cudaStream_t) and returns at once. Allocates nothing, waits for nothing.
// `job.systems` and `job.out` are device memory; `job.band_rows` is chosen here. Throws std::runtime_error naming the
// CUDA call that failed.
void render_cuda(BlockJob job, std::int64_t batch, int device, std::uintptr_t stream);

// The same for stored canvases; all three arrays are device memory.
void expand_cuda(const ExpandJob& job, int device, std::uintptr_t stream);

// Pictures of canvases that lie in device memory, one block each; so do shots, tables and `job.film.out`.
void take_pictures_cuda(const PictureJob& job, int device, std::uintptr_t stream);

// Whether a block of a device has room for a canvas and what a picture of `size` pixels needs.
bool fits_block(int canvas, int size, int device);

// Draws canvases that fit a block and takes their pictures; no canvas lies in device memory. `job.out` is not used.
void draw_pictures_cuda(BlockJob job, const Shot* shots, const Film& film, std::int64_t batch, int device,
                        std::uintptr_t stream);

// Images of noise; all arrays are device memory. `job.band_rows` is chosen here.
void draw_noise_cuda(NoiseJob job, int device, std::uintptr_t stream);

// Draws Visual Atoms, one block each, straight into device memory; `job.atoms` is device memory too.
void draw_atoms_cuda(const AtomJob& job, int device, std::uintptr_t stream);

// Counts hits, or grades them; all arrays are device memory. `job.points.band_rows` is chosen here.
void density_cuda(DensityJob job, std::int64_t batch, int device, std::uintptr_t stream);

// Paints scenes; all arrays, the workspace too, are device memory.
void paint_scenes_cuda(const SceneJob& job, int device, std::uintptr_t stream);

}  // namespace onepfrac
