// The chaos game: K orbits an image, each driven by 16-bit draws from Philox.
//
// Orbit k draws the points k, k + K, k + 2K, ... of the image, after a burn-in. Step t of orbit k takes half t % 2 of
// word (t % 8) / 2 of the Philox block with counter (t / 8, k, purpose, 0); the map is the first j with
// u < threshold[j]. A point with a coordinate that is not finite ends its orbit; since the maps are affine, no later
// point of that orbit is finite.
#pragma once

#include "system.h"

namespace onepfrac {

// Constants of the algorithm, not of the hardware: changing one changes every image.
inline constexpr std::uint32_t kOrbits = 256;
inline constexpr std::uint32_t kBurnIn = 32;
inline constexpr std::uint32_t kStepsPerBlock = 8;
static_assert(kBurnIn % kStepsPerBlock == 0);

template <class F>
struct Point {
    F x;
    F y;
};

template <class F>
struct Map {
    F a, b, e, c, d, f;
};

template <class L>
ONEPFRAC_FN Point<typename L::F> apply(const Map<typename L::F>& map, const Point<typename L::F>& p) {
    return {L::fma(map.a, p.x, L::fma(map.b, p.y, map.e)), L::fma(map.c, p.x, L::fma(map.d, p.y, map.f))};
}

// How many points orbit k draws.
ONEPFRAC_FN std::uint32_t points_of_orbit(std::uint32_t points, std::uint32_t orbit) {
    return points / kOrbits + (orbit < points % kOrbits ? 1U : 0U);
}

ONEPFRAC_FN bool is_finite(const Point<float>& p) {
    const float x = p.x < 0 ? -p.x : p.x;
    const float y = p.y < 0 ? -p.y : p.y;
    return x <= kFloatMax && y <= kFloatMax;
}

// The map that a draw chooses, one lane.
template <int kMaps>  // 2, or 0 for any number
ONEPFRAC_FN Map<float> choose_map(const System& system, int num_maps, std::uint32_t draw) {
    if constexpr (kMaps == 2) {
        const bool first = draw < system.threshold[0];
        return {first ? system.a[0] : system.a[1], first ? system.b[0] : system.b[1],
                first ? system.e[0] : system.e[1], first ? system.c[0] : system.c[1],
                first ? system.d[0] : system.d[1], first ? system.f[0] : system.f[1]};
    } else {
        int j = 0;
        for (int i = 0; i + 1 < num_maps; ++i) j += draw >= system.threshold[i] ? 1 : 0;
        return {system.a[j], system.b[j], system.e[j], system.c[j], system.d[j], system.f[j]};
    }
}

// One orbit, point by point: calls visit(point) for each drawn point and returns the last state. With kChecked, ends at
// the first point that is not finite.
template <int kMaps, bool kChecked, class Visit>
ONEPFRAC_FN Point<float> walk_orbit(const System& system, int num_maps, std::uint32_t orbit, std::uint32_t points,
                                    Purpose purpose, Visit&& visit) {
    Point<float> p{system.start[0], system.start[1]};
    const RoundKeys<ScalarLanes> keys(system.key);
    const PhiloxSequence<ScalarLanes> draws(orbit, purpose, keys);
    const std::uint32_t steps = kBurnIn + points;
    for (std::uint32_t first = 0; first < steps; first += kStepsPerBlock) {
        const PhiloxBlock<ScalarLanes> block = draws.at(first / kStepsPerBlock, keys);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
        for (std::uint32_t s = 0; s < kStepsPerBlock; ++s) {
            const std::uint32_t draw = (s % 2 == 0) ? block.word[s / 2] & 0xFFFFU : block.word[s / 2] >> 16;
            if (first + s < steps) {
                p = apply<ScalarLanes>(choose_map<kMaps>(system, num_maps, draw), p);
                if constexpr (kChecked) {
                    if (!is_finite(p)) return p;
                }
                if (first >= kBurnIn) visit(p);
            }
        }
    }
    return p;
}

}  // namespace onepfrac
