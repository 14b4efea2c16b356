// From maps and probabilities to the systems that the renderer takes. Host only, float64, basic operations alone.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "system.h"

namespace onepfrac {

// The singular values of [[a, b], [c, d]], larger first.
std::array<double, 2> singular_values(double a, double b, double c, double d);

// Packs one system. `maps` holds 6 N floats, a map's six as a b e / c d f; `probabilities` N numbers, none negative,
// with a positive sum (they are normalised here).
System pack_system(std::span<const float> maps, std::span<const double> probabilities, std::uint64_t seed);

// Whether probe orbits of the system run away. Cheap where the maps contract on average: then none can.
bool diverges(const System& system, int num_maps);

}  // namespace onepfrac
