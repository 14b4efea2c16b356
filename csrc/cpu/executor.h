// The CPU executor: images over threads, orbits over SIMD lanes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "count_hits.h"
#include "draw_atom.h"
#include "draw_noise.h"
#include "interrupt.h"
#include "paint_scene.h"
#include "render_image.h"
#include "take_picture.h"

namespace onepfrac {

// The instruction sets that this build and this processor share, weakest first: "scalar", "avx2", "avx512".
std::vector<std::string> simd_levels();

// Renders the whole job on at most `threads` threads. `level` caps the instruction set: one of "scalar", "avx2",
// "avx512", or empty for the best there is. All levels give the same bits. `interrupt` may end this call and those
// below: then an exception is thrown, and what was to be written is written in part.
void render_cpu(RenderJob job, int threads, std::string_view level, Interrupt& interrupt);

// The same for stored canvases.
void expand_cpu(const ExpandJob& job, int threads, std::string_view level, Interrupt& interrupt);

// Takes pictures of canvases that lie in memory.
void take_pictures_cpu(const PictureJob& job, int threads, std::string_view level, Interrupt& interrupt);

// Draws canvases and takes their pictures, `shots` one an image; no canvas leaves the cache. `job` draws bits, its
// `out` is not used.
void draw_pictures_cpu(RenderJob job, const Shot* shots, const Film& film, int threads, std::string_view level,
                       Interrupt& interrupt);

// Writes the hits of the whole job to `hits`, or their grades to `grades` (the other is null), both [batch, size,
// size]. `job` draws bits, its `out` is not used.
void density_cpu(RenderJob job, std::uint32_t* hits, std::uint8_t* grades, int threads, std::string_view level,
                 Interrupt& interrupt);

// Draws Visual Atoms.
void draw_atoms_cpu(const AtomJob& job, int threads, std::string_view level, Interrupt& interrupt);

// Draws images of noise.
void draw_noise_cpu(const NoiseJob& job, int threads, std::string_view level, Interrupt& interrupt);

// Paints scenes; the job's workspace is not used.
void paint_scenes_cpu(const SceneJob& job, int threads, std::string_view level, Interrupt& interrupt);

}  // namespace onepfrac
