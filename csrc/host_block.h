// The kernel body run serially on the host: what the tests compare with the CPU renderer where there is no GPU.
#pragma once

#include "density.h"
#include "noise_image.h"
#include "picture_block.h"
#include "scene.h"
#include "visual_atom.h"

namespace onepfrac {

// Runs every block of a job, `threads` threads a block, one after the other. `reverse` runs the threads of each phase
// from the last to the first: the result must not depend on their order.
void render_host_block(const BlockJob& job, std::int64_t batch, int threads, bool reverse);
void expand_host_block(const ExpandJob& job, int threads, bool reverse);
void take_pictures_host_block(const PictureJob& job, int threads, bool reverse);
void draw_pictures_host_block(BlockJob job, const Shot* shots, const Film& film, std::int64_t batch, int threads,
                              bool reverse);
void draw_noise_host_block(const NoiseJob& job, int threads, bool reverse);
void draw_atoms_host_block(const AtomJob& job, int threads, bool reverse);
void density_host_block(const DensityJob& job, std::int64_t batch, int threads, bool reverse);
void paint_scenes_host_block(const SceneJob& job, int threads, bool reverse);

}  // namespace onepfrac
