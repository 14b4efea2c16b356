#include "packing.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "chaos_game.h"
#include "elementary.h"

namespace onepfrac {

namespace {

// Probe orbits: as many, and as long, as tell a system that runs away from one that makes long excursions. Every
// category of FractalDB-1k stays below 1e6 (87 % of them hold a map that expands).
constexpr std::uint32_t kProbeOrbits = 16;
constexpr std::uint32_t kProbePoints = 480;
constexpr float kProbeLimit = 1e15F;

struct Fixed {
    bool exists;
    float x, y;
};

// Solves (I - A) v = t.
Fixed fixed_point(const float* map) {
    const double a = map[0], b = map[1], e = map[2], c = map[3], d = map[4], f = map[5];
    const double determinant = (1.0 - a) * (1.0 - d) - b * c;
    const double x = ((1.0 - d) * e + b * f) / determinant;
    const double y = ((1.0 - a) * f + c * e) / determinant;
    const Fixed fixed{true, static_cast<float>(x), static_cast<float>(y)};
    if (determinant == 0.0 || !is_finite({fixed.x, fixed.y})) return {false, 0.0F, 0.0F};
    return fixed;
}

}  // namespace

std::array<double, 2> singular_values(double a, double b, double c, double d) {
    // The square roots of the eigenvalues of A^T A, as a half sum and half difference that keep small values exact
    // (Blinn, "Consider the lowly 2x2 matrix", 1996).
    const double e = 0.5 * (a + d), f = 0.5 * (a - d), g = 0.5 * (c + b), h = 0.5 * (c - b);
    const double q = std::sqrt(e * e + h * h), r = std::sqrt(f * f + g * g);
    return {q + r, std::abs(q - r)};
}

System pack_system(std::span<const float> maps, std::span<const double> probabilities, std::uint64_t seed) {
    System system{};
    system.key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};

    const std::size_t num_maps = probabilities.size();
    double total = 0.0;
    for (const double p : probabilities) total += p;
    double running = 0.0;
    for (std::size_t j = 0; j < kMaxMaps; ++j) {
        const std::size_t source = std::min(j, num_maps - 1);
        if (j < num_maps) running += probabilities[j] / total;
        system.threshold[j] = j + 1 < num_maps
                                  ? static_cast<std::uint32_t>(std::min(65536.0, std::floor(65536.0 * running + 0.5)))
                                  : 65536U;
        const float* map = maps.data() + 6 * source;
        system.a[j] = map[0];
        system.b[j] = map[1];
        system.e[j] = map[2];
        system.c[j] = map[3];
        system.d[j] = map[4];
        system.f[j] = map[5];
    }

    // The fixed point of the map that contracts most: it is on the attractor, or near it where other maps expand.
    double smallest = 1.0;
    for (std::size_t j = 0; j < num_maps; ++j) {
        const float* map = maps.data() + 6 * j;
        const double s1 = singular_values(map[0], map[1], map[3], map[4])[0];
        const Fixed fixed = fixed_point(map);
        if (s1 < smallest && fixed.exists) {
            smallest = s1;
            system.start[0] = fixed.x;
            system.start[1] = fixed.y;
        }
    }
    return system;
}

bool diverges(const System& system, int num_maps) {
    // Where the mean of log s1 is negative the maps contract on average, and no orbit runs away (Furstenberg and
    // Kesten, 1960). Where it is positive one may: look.
    double mean = 0.0;
    double below = 0.0;
    for (int j = 0; j < num_maps; ++j) {
        const double probability = (static_cast<double>(system.threshold[j]) - below) / 65536.0;
        below = static_cast<double>(system.threshold[j]);
        const double s1 = singular_values(system.a[j], system.b[j], system.c[j], system.d[j])[0];
        if (s1 == 0.0 && probability > 0.0) return false;
        if (probability > 0.0) mean += probability * log_fixed(s1);
    }
    if (mean <= 0.0) return false;

    System probe = system;
    probe.key = {0U, 0U};  // whether a system diverges does not depend on the image's seed
    bool away = false;
    for (std::uint32_t orbit = 0; orbit < kProbeOrbits && !away; ++orbit) {
        const Point<float> last = walk_orbit<0, true>(
            probe, num_maps, orbit, kProbePoints, Purpose::kProbe,
            [&](auto p) { away = away || std::abs(p.x) > kProbeLimit || std::abs(p.y) > kProbeLimit; });
        away = away || !is_finite(last);
    }
    return away;
}

}  // namespace onepfrac
