// From views, steps and windows in float64 to the shots that the executors take. Host only, basic operations alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "camera.h"

namespace onepfrac {

// What one shot is made of; the arrays are those of Shots in the Python package.
struct ShotParts {
    std::span<const double> view;          // 6
    std::span<const std::int8_t> steps;    // K
    std::span<const double> amounts;       // K
    std::span<const double> windows;       // 6 G
    std::span<const std::int32_t> erased;  // 4
    std::uint64_t key;
};

// Packs one shot of a picture of `size` pixels. Throws std::invalid_argument saying what is not legal.
Shot pack_shot(const ShotParts& parts, int size);

}  // namespace onepfrac
