// What host and device compilers need to agree on: function qualifiers and the scalar operations that reach a pixel.
//
// Everything here is exact: float32 with one rounding an operation, explicit fused multiply-add, no contraction
// (the build passes -ffp-contract=off and -fmad=false). The SIMD twins of these operations are in cpu/lanes_*.h.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define ONEPFRAC_FN __host__ __device__ __forceinline__
#else
#define ONEPFRAC_FN inline __attribute__((always_inline))
#endif

namespace onepfrac {

inline constexpr float kFloatMax = 3.402823466e+38F;

// The orbit of one lane: the scalar path on the CPU, one thread on the GPU, and the kernel body run on the host.
struct ScalarLanes {
    static constexpr int kWidth = 1;
    using F = float;          // float32 lanes
    using U = std::uint32_t;  // uint32 lanes
    using W = std::uint32_t;  // uint32 lanes in the layout in which they multiply
    using K = std::uint32_t;  // a key, as xor3 takes it
    using M = bool;           // a truth value a lane

    static ONEPFRAC_FN F fma(F a, F b, F c) {
#if defined(__CUDA_ARCH__)
        return __fmaf_rn(a, b, c);
#else
        return __builtin_fmaf(a, b, c);
#endif
    }
    // Of numbers; which zero, and which operand where one is NaN, is left open.
    static ONEPFRAC_FN F min(F a, F b) {
#if defined(__CUDA_ARCH__)
        return fminf(a, b);
#else
        return a < b ? a : b;
#endif
    }
    static ONEPFRAC_FN F max(F a, F b) {
#if defined(__CUDA_ARCH__)
        return fmaxf(a, b);
#else
        return a > b ? a : b;
#endif
    }
    static ONEPFRAC_FN F splat(float value) { return value; }
    static ONEPFRAC_FN U splat_u(std::uint32_t value) { return value; }
    static ONEPFRAC_FN U iota() { return 0; }
    static ONEPFRAC_FN U add(U a, U b) { return a + b; }
    static ONEPFRAC_FN U bit_and(U a, U b) { return a & b; }
    static ONEPFRAC_FN U bit_or(U a, U b) { return a | b; }
    template <int kBits>
    static ONEPFRAC_FN U shift_right(U a) {
        return a >> kBits;
    }
    static ONEPFRAC_FN U shift_left_by(U a, U bits) { return a << bits; }
    static ONEPFRAC_FN M less(U a, U b) { return a < b; }  // values below 2^31
    static ONEPFRAC_FN U keep(M mask, U a) { return mask ? a : 0U; }

    static ONEPFRAC_FN W widen(U a) { return a; }
    static ONEPFRAC_FN U narrow(W a) { return a; }
    static ONEPFRAC_FN W splat_w(std::uint32_t value) { return value; }
    static ONEPFRAC_FN K splat_k(std::uint32_t value) { return value; }
    static ONEPFRAC_FN W xor3(W a, W b, K c) { return a ^ b ^ c; }
    static ONEPFRAC_FN void multiply(W a, std::uint32_t b, W& high, W& low) {
        const std::uint64_t product = static_cast<std::uint64_t>(a) * b;
        high = static_cast<std::uint32_t>(product >> 32);
        low = static_cast<std::uint32_t>(product);
    }
};

}  // namespace onepfrac
