// A system as the renderer takes it: 32-bit words, one array of them an image, the same bytes on host and device.
#pragma once

#include "philox.h"

namespace onepfrac {

inline constexpr int kMaxMaps = 16;
inline constexpr std::uint32_t kFormatVersion = 1;  // raised when any image changes (the golden hashes of the tests)

struct System {
    Key key;                            // the image's seed
    float start[2];                     // where every orbit starts
    std::uint32_t threshold[kMaxMaps];  // 65536 x the running sum of probabilities; 65536 from the last map on
    // v -> A v + t, A = [[a, b], [c, d]], t = (e, f); unused maps are copies of the last one that is used
    float a[kMaxMaps];
    float b[kMaxMaps];
    float e[kMaxMaps];
    float c[kMaxMaps];
    float d[kMaxMaps];
    float f[kMaxMaps];
};

inline constexpr int kSystemWords = static_cast<int>(sizeof(System) / sizeof(std::uint32_t));
static_assert(sizeof(System) == 4 * (4 + 7 * kMaxMaps));

}  // namespace onepfrac
