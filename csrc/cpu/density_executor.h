// Hits on the CPU: images over threads, orbits over SIMD lanes.
#pragma once

#include <string_view>

#include "density_image.h"

namespace onepfrac {

// Writes the hits of the whole job to `hits`, or their grades to `grades` (the other is null), both [batch, size,
// size]. `job` draws bits, its `out` is not used.
void density_cpu(const RenderJob& job, std::uint32_t* hits, std::uint8_t* grades, int threads, std::string_view level);

}  // namespace onepfrac
