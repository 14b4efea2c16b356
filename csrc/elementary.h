// Sine, cosine, exponential and logarithm in float64 that give the same bits on every machine: basic operations in a
// fixed order, no library call, no contraction. Within 2 units in the last place; speed does not matter here.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace onepfrac {

struct SinCos {
    double sin, cos;
};

// sin and cos of 2 pi u. The reduction to an eighth of a turn is exact; then the Taylor series, whose first term left
// out is below 1e-19.
inline SinCos sincos_turns(double u) {
    u = u - std::floor(u);
    const double eighths = std::floor(8.0 * u);
    const int octant = static_cast<int>(eighths);
    // Odd octants are measured back from their end, so that the angle lies in 0 .. pi/4.
    const double turns = octant % 2 == 0 ? u - 0.125 * eighths : 0.125 * (eighths + 1.0) - u;
    const double x = 6.283185307179586476925 * turns;
    const double square = x * x;
    double sine = 0.0;
    for (int n = 21; n >= 3; n -= 2) sine = (sine + 1.0) * (-square / static_cast<double>(n * (n - 1)));
    sine = x + x * sine;
    double cosine = 0.0;
    for (int n = 20; n >= 2; n -= 2) cosine = (cosine + 1.0) * (-square / static_cast<double>(n * (n - 1)));
    cosine = 1.0 + cosine;
    switch (octant) {
        case 0:
            return {sine, cosine};
        case 1:
            return {cosine, sine};
        case 2:
            return {cosine, -sine};
        case 3:
            return {sine, -cosine};
        case 4:
            return {-sine, -cosine};
        case 5:
            return {-cosine, -sine};
        case 6:
            return {-cosine, sine};
        default:
            return {-sine, cosine};
    }
}

inline constexpr double kLn2High = 0x1.62e42fee00000p-1;  // ln 2 in two parts: n * high is exact for |n| < 2^20
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

// exp(x) for finite x; 0 below the smallest number, infinity above the largest.
inline double exp_fixed(double x) {
    if (!(x > -745.2)) return x < 0 ? 0.0 : x;
    if (x > 709.8) return HUGE_VAL;
    const double n = std::floor(x * 1.4426950408889634 + 0.5);
    const double r = (x - n * kLn2High) - n * kLn2Low;
    double sum = 0.0;
    for (int k = 18; k >= 2; --k) sum = (sum + 1.0) * (r / static_cast<double>(k));
    // 1 + r + r * sum, the small parts first.
    const double value = 1.0 + (r + r * sum);
    // Two exact powers of two, so that results below the normal range are rounded once.
    const int exponent = static_cast<int>(n);
    const int half = exponent / 2;
    const auto power = [](int k) { return std::bit_cast<double>(static_cast<std::uint64_t>(1023 + k) << 52); };
    return value * power(half) * power(exponent - half);
}

// log(x) for finite x > 0.
inline double log_fixed(double x) {
    int exponent = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        exponent = -54;
    }
    const auto bits = std::bit_cast<std::uint64_t>(x);
    exponent += static_cast<int>(bits >> 52) - 1023;
    double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFULL) | (1023ULL << 52));
    if (m > 1.4142135623730951) {
        m *= 0.5;
        exponent += 1;
    }
    // log m = 2 atanh((m - 1) / (m + 1)), |argument| <= 0.172.
    const double s = (m - 1.0) / (m + 1.0);
    const double square = s * s;
    double sum = 0.0;
    for (int k = 23; k >= 3; k -= 2) sum = (sum + 1.0 / static_cast<double>(k)) * square;
    const double n = static_cast<double>(exponent);
    const double f = m - 1.0;
    // 2 s (1 + sum) = f - s (f - 2 sum): f is exact, the correction small.
    return n * kLn2High + ((f - s * (f - 2.0 * sum)) + n * kLn2Low);
}

}  // namespace onepfrac
