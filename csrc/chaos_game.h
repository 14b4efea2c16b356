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

// The maps of a system as one orbit holds them.
template <int kMaps>  // 2, or 0 for any number
struct OrbitMaps {
    const System& system;
    int num_maps;

    // The map that a draw chooses.
    ONEPFRAC_FN Map<float> at(std::uint32_t draw) const {
        int j = 0;
        for (int i = 0; i + 1 < num_maps; ++i) j += draw >= system.threshold[i] ? 1 : 0;
        return {system.a[j], system.b[j], system.e[j], system.c[j], system.d[j], system.f[j]};
    }
};

// Two maps are held in registers: the system may lie in memory that the visitor of a point writes to.
template <>
struct OrbitMaps<2> {
    Map<float> first, second;
    std::uint32_t threshold;

    ONEPFRAC_FN OrbitMaps(const System& s, int /*num_maps*/)
        : first{s.a[0], s.b[0], s.e[0], s.c[0], s.d[0], s.f[0]},
          second{s.a[1], s.b[1], s.e[1], s.c[1], s.d[1], s.f[1]},
          threshold(s.threshold[0]) {}

    ONEPFRAC_FN Map<float> at(std::uint32_t draw) const {
        const bool one = draw < threshold;
        return {one ? first.a : second.a, one ? first.b : second.b, one ? first.e : second.e,
                one ? first.c : second.c, one ? first.d : second.d, one ? first.f : second.f};
    }
};

// One orbit, point by point: calls visit(point) for each drawn point and returns the last state. With kChecked, ends at
// the first point that is not finite.
template <int kMaps, bool kChecked, class Visit>
ONEPFRAC_FN Point<float> walk_orbit(const System& system, int num_maps, std::uint32_t orbit, std::uint32_t points,
                                    Purpose purpose, Visit&& visit) {
    Point<float> p{system.start[0], system.start[1]};
    const OrbitMaps<kMaps> maps{system, num_maps};
    const RoundKeys<ScalarLanes> keys(system.key);
    const PhiloxSequence<ScalarLanes> draws(orbit, purpose, keys);
    // The first `steps` steps of a block of draws; after() follows each. False where the orbit has ended.
    const auto play = [&](std::uint32_t block_index, std::uint32_t steps, auto&& after) {
        const PhiloxBlock<ScalarLanes> block = draws.at(block_index, keys);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
        for (std::uint32_t s = 0; s < kStepsPerBlock; ++s) {
            if (s >= steps) break;
            const std::uint32_t draw = (s % 2 == 0) ? block.word[s / 2] & 0xFFFFU : block.word[s / 2] >> 16;
            p = apply<ScalarLanes>(maps.at(draw), p);
            if constexpr (kChecked) {
                if (!is_finite(p)) return false;
            }
            after();
        }
        return true;
    };
    const auto draw_point = [&] { visit(p); };
    const std::uint32_t whole_blocks = (kBurnIn + points) / kStepsPerBlock;
    std::uint32_t block = 0;
    for (; block < kBurnIn / kStepsPerBlock; ++block) {
        if (!play(block, kStepsPerBlock, [] {})) return p;
    }
    for (; block < whole_blocks; ++block) {
        if (!play(block, kStepsPerBlock, draw_point)) return p;
    }
    play(block, points % kStepsPerBlock, draw_point);
    return p;
}

}  // namespace onepfrac
