// Philox4x32-10, the counter-based random numbers of everything here (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). No state: 128 bits of counter and 64 bits of key give 128 random bits.
//
// Key: the image's 64-bit seed. Counter: (block, index, purpose, high half of the index). The purposes of the renderer
// are below; those of 16 and above belong to the Python package (draws.py).
#pragma once

#include "portable.h"

namespace onepfrac {

enum class Purpose : std::uint32_t {
    kOrbit = 0,      // counter (step / 8, orbit): eight 16-bit draws
    kTexture = 1,    // counter (word / 4, plane): four 32-bit words of texture
    kPatchMask = 2,  // counter (0, 0)
    kProbe = 3,      // as kOrbit, for the probe orbits that look for divergence
};

struct Key {
    std::uint32_t low;
    std::uint32_t high;
};

template <class L>
struct PhiloxBlock {
    typename L::U word[4];
};

template <class L>
ONEPFRAC_FN PhiloxBlock<L> philox4x32(typename L::U c0, typename L::U c1, typename L::U c2, typename L::U c3, Key key) {
    using W = typename L::W;
    W w0 = L::widen(c0);
    W w1 = L::widen(c1);
    W w2 = L::widen(c2);
    W w3 = L::widen(c3);
    std::uint32_t k0 = key.low;
    std::uint32_t k1 = key.high;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int round = 0; round < 10; ++round) {
        W high0, low0, high1, low1;
        L::multiply(w0, 0xD2511F53U, high0, low0);
        L::multiply(w2, 0xCD9E8D57U, high1, low1);
        w0 = L::xor3(high1, w1, k0);
        w1 = low1;
        w2 = L::xor3(high0, w3, k1);
        w3 = low0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    return {{L::narrow(w0), L::narrow(w1), L::narrow(w2), L::narrow(w3)}};
}

}  // namespace onepfrac
