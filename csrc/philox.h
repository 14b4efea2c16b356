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
    kNoise = 4,      // counter (column / 8, row, channel in the high half): eight levels of noise
};

struct Key {
    std::uint32_t low;
    std::uint32_t high;
};

template <class L>
struct PhiloxBlock {
    typename L::U word[4];
};

inline constexpr std::uint32_t kPhiloxM0 = 0xD2511F53U, kPhiloxM1 = 0xCD9E8D57U;  // multipliers
inline constexpr std::uint32_t kPhiloxW0 = 0x9E3779B9U, kPhiloxW1 = 0xBB67AE85U;  // key increments
inline constexpr int kPhiloxRounds = 10;

// The keys of all rounds, in lanes: made once an image.
template <class L>
struct RoundKeys {
    Key key;
    typename L::K lows[kPhiloxRounds], highs[kPhiloxRounds];

    ONEPFRAC_FN explicit RoundKeys(Key first) : key(first) {
        for (int r = 0; r < kPhiloxRounds; ++r) {
            lows[r] = L::splat_k(key.low + static_cast<std::uint32_t>(r) * kPhiloxW0);
            highs[r] = L::splat_k(key.high + static_cast<std::uint32_t>(r) * kPhiloxW1);
        }
    }
    ONEPFRAC_FN const typename L::K& low(int round) const { return lows[round]; }
    ONEPFRAC_FN const typename L::K& high(int round) const { return highs[round]; }
};

// One lane makes them as it goes.
template <>
struct RoundKeys<ScalarLanes> {
    Key key;

    ONEPFRAC_FN explicit RoundKeys(Key first) : key(first) {}
    ONEPFRAC_FN std::uint32_t low(int round) const { return key.low + static_cast<std::uint32_t>(round) * kPhiloxW0; }
    ONEPFRAC_FN std::uint32_t high(int round) const { return key.high + static_cast<std::uint32_t>(round) * kPhiloxW1; }
};

template <class L>
struct PhiloxState {
    typename L::W word[4];
};

// The rounds from `first` on, of kCount states side by side: a round waits for the one before, and one state alone has
// too few independent operations to keep a processor busy.
template <class L, int kCount>
ONEPFRAC_FN void philox_rounds(PhiloxState<L> (&states)[kCount], const RoundKeys<L>& keys, int first) {
    using W = typename L::W;
#if defined(__CUDA_ARCH__)
#pragma unroll
#elif !defined(__CUDACC__)
#pragma GCC unroll 10
#endif
    for (int round = first; round < kPhiloxRounds; ++round) {
        W high0[kCount], low0[kCount], high1[kCount], low1[kCount];
        for (int i = 0; i < kCount; ++i) {
            L::multiply(states[i].word[0], kPhiloxM0, high0[i], low0[i]);
            L::multiply(states[i].word[2], kPhiloxM1, high1[i], low1[i]);
        }
        for (int i = 0; i < kCount; ++i) {
            W(&w)[4] = states[i].word;
            w[0] = L::xor3(high1[i], w[1], keys.low(round));
            w[1] = low1[i];
            w[2] = L::xor3(high0[i], w[3], keys.high(round));
            w[3] = low0[i];
        }
    }
}

template <class L>
ONEPFRAC_FN PhiloxBlock<L> narrow(const PhiloxState<L>& state) {
    const typename L::W(&w)[4] = state.word;
    return {{L::narrow(w[0]), L::narrow(w[1]), L::narrow(w[2]), L::narrow(w[3])}};
}

template <class L>
ONEPFRAC_FN PhiloxBlock<L> philox4x32(typename L::U c0, typename L::U c1, typename L::U c2, typename L::U c3,
                                      const RoundKeys<L>& keys) {
    PhiloxState<L> state[1] = {{{L::widen(c0), L::widen(c1), L::widen(c2), L::widen(c3)}}};
    philox_rounds<L>(state, keys, 0);
    return narrow<L>(state[0]);
}

// The blocks with counters (0, index, purpose, 0), (1, index, purpose, 0), ...: the first two rounds come down to a
// product a lane that is the same for all blocks, and a few scalar operations a block; half of the third is scalar too.
template <class L>
class PhiloxSequence {
  public:
    ONEPFRAC_FN PhiloxSequence(typename L::U index, Purpose purpose, const RoundKeys<L>& keys) {
        ScalarLanes::multiply(static_cast<std::uint32_t>(purpose), kPhiloxM1, high_, low_);
        const typename L::W w0 = L::xor3(L::widen(index), L::splat_w(high_), keys.low(0));
        L::multiply(w0, kPhiloxM0, lane_high_, lane_low_);
    }

    // `keys` as given before.
    ONEPFRAC_FN PhiloxBlock<L> at(std::uint32_t block, const RoundKeys<L>& keys) const {
        PhiloxState<L> state[1] = {after_three_rounds(block, keys)};
        philox_rounds<L>(state, keys, 3);
        return narrow<L>(state[0]);
    }

    ONEPFRAC_FN PhiloxState<L> after_three_rounds(std::uint32_t block, const RoundKeys<L>& keys) const {
        std::uint32_t high0 = 0, low0 = 0, high1 = 0, low1 = 0;
        ScalarLanes::multiply(block, kPhiloxM0, high0, low0);                  // round 0
        ScalarLanes::multiply(high0 ^ keys.key.high, kPhiloxM1, high1, low1);  // round 1
        const std::uint32_t w0 = high1 ^ low_ ^ (keys.key.low + kPhiloxW0), w1 = low1;
        const typename L::W w2 = L::xor3(lane_high_, L::splat_w(low0), keys.high(1));
        std::uint32_t next_high0 = 0, next_low0 = 0;
        typename L::W next_high1, next_low1;
        ScalarLanes::multiply(w0, kPhiloxM0, next_high0, next_low0);  // round 2, of which half is scalar
        L::multiply(w2, kPhiloxM1, next_high1, next_low1);
        return {{L::xor3(next_high1, L::splat_w(w1), keys.low(2)), next_low1,
                 L::xor3(lane_low_, L::splat_w(next_high0), keys.high(2)), L::splat_w(next_low0)}};
    }

  private:
    std::uint32_t high_, low_;
    typename L::W lane_high_, lane_low_;
};

}  // namespace onepfrac
