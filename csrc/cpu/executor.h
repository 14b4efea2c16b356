// The CPU executor: images over threads, orbits over SIMD lanes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "draw_atom.h"
#include "draw_noise.h"
#include "render_image.h"
#include "take_picture.h"

namespace onepfrac {

// The instruction sets that this build and this processor share, weakest first: "scalar", "avx2", "avx512".
std::vector<std::string> simd_levels();

// The strongest of them that `cap` allows; throws std::invalid_argument where that is neither a level nor empty.
std::string_view best_level(std::string_view cap);

// The working memory of this thread, kept between calls.
Arena& thread_arena();

// Renders the whole job on at most `threads` threads. `level` caps the instruction set: one of "scalar", "avx2",
// "avx512", or empty for the best there is. All levels give the same bits.
void render_cpu(const RenderJob& job, int threads, std::string_view level);

// The same for stored canvases.
void expand_cpu(const ExpandJob& job, int threads, std::string_view level);

// Draws Visual Atoms.
void draw_atoms_cpu(const AtomJob& job, int threads, std::string_view level);

// Takes pictures of canvases that lie in memory.
void take_pictures_cpu(const PictureJob& job, int threads, std::string_view level);

// Draws canvases and takes their pictures, `shots` one an image; no canvas leaves the cache. `job` draws bits, its
// `out` is not used.
void draw_pictures_cpu(const RenderJob& job, const Shot* shots, const Film& film, int threads, std::string_view level);

// Draws images of noise.
void draw_noise_cpu(const NoiseJob& job, int threads, std::string_view level);

}  // namespace onepfrac
