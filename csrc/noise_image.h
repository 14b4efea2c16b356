// Images of noise: one base image, and for each key a perturbation of every pixel of it. Integers alone.
//
// All is in units of 1/128 gray. A pixel is clamp((base + epsilon + 64) >> 7, 0, 255), with base 0 .. 255 * 128 and
// epsilon = (half * (u - 2^15) + 2^14) >> 15: uniform between -half and half, from a 16-bit draw u; half is 0 .. 255 *
// 128. Shifts round down.
//
// Draws: column x of row y takes half x % 2 of word (x % 8) / 2 of the Philox block with counter (x / 8, y,
// kNoiseClassPurpose, 0) and the image's key. A block serves eight columns, so that an image of S x S pixels takes
// S * ceil(S / 8) blocks, reads two bytes a pixel of the base and writes one.
#pragma once

#include "philox.h"

namespace onepfrac {

// Purposes, as those in philox.h. The base is drawn once a recipe, by the Python package, with the layout above and
// kNoiseBasePurpose.
inline constexpr std::uint32_t kNoiseBasePurpose = 6U;
inline constexpr std::uint32_t kNoiseClassPurpose = 7U;

inline constexpr int kGrayUnits = 128;  // in one gray
inline constexpr int kBrightest = 255 * kGrayUnits;
inline constexpr int kColumnsPerBlock = 8;

struct NoiseJob {
    const std::int16_t* base;   // [size, size]
    const std::uint64_t* keys;  // [batch]
    std::int64_t batch;
    int size;
    int half;           // the largest epsilon, 0 .. kBrightest
    std::uint8_t* out;  // [batch, size, size]
    int band_rows;      // rows that a block of threads draws
};

ONEPFRAC_FN Key noise_key(std::uint64_t key) {
    return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

ONEPFRAC_FN int blocks_per_row(int size) {
    return (size + kColumnsPerBlock - 1) / kColumnsPerBlock;
}

ONEPFRAC_FN std::uint32_t noisy_gray(int base, std::uint32_t draw, int half) {
    const int epsilon = (half * (static_cast<int>(draw) - 32768) + 16384) >> 15;
    const int gray = (base + epsilon + kGrayUnits / 2) >> 7;
    return static_cast<std::uint32_t>(gray < 0 ? 0 : gray > 255 ? 255 : gray);
}
static_assert(kGrayUnits == 1 << 7);

// The draws of kCount groups of lanes side by side: those of the columns 8 (block + lane) and on, where the second
// group begins L::kWidth blocks behind the first.
template <class L, int kCount>
ONEPFRAC_FN void noise_draws(int block, int row, const RoundKeys<L>& keys, PhiloxBlock<L> (&out)[kCount]) {
    PhiloxState<L> states[kCount];
    for (int i = 0; i < kCount; ++i) {
        const auto first = static_cast<std::uint32_t>(block + i * L::kWidth);
        states[i] = {{L::widen(L::add(L::iota(), L::splat_u(first))), L::splat_w(static_cast<std::uint32_t>(row)),
                      L::splat_w(kNoiseClassPurpose), L::splat_w(0U)}};
    }
    philox_rounds<L>(states, keys, 0);
    for (int i = 0; i < kCount; ++i) out[i] = narrow<L>(states[i]);
}

// ---- blocks of threads, on the GPU and, in the tests, on the host ---------------------------------------------------

// Eight pixels of base, and eight that are done.
struct alignas(16) BaseRun {
    std::uint32_t pair[4];
};
struct alignas(8) GrayRun {
    std::uint32_t quad[2];
};

ONEPFRAC_FN int band_count(const NoiseJob& job) {
    return (job.size + job.band_rows - 1) / job.band_rows;
}

// A band of rows of one image: one phase, a loop over runs of eight columns.
template <class Threads>
ONEPFRAC_FN void draw_noise_block(Threads& threads, const NoiseJob& job, std::int64_t image, int band) {
    const int first_row = band * job.band_rows;
    const int rows = job.band_rows < job.size - first_row ? job.band_rows : job.size - first_row;
    const int runs = blocks_per_row(job.size);
    threads.each([&](int thread) {
        const RoundKeys<ScalarLanes> keys(noise_key(job.keys[image]));
        std::uint8_t* picture = job.out + image * job.size * job.size;
        // Whole runs are read and written at once where all of them are aligned.
        const bool aligned = job.size % kColumnsPerBlock == 0 &&
                             reinterpret_cast<std::uintptr_t>(job.base) % sizeof(BaseRun) == 0 &&
                             reinterpret_cast<std::uintptr_t>(job.out) % sizeof(GrayRun) == 0;
        for (int at = thread; at < rows * runs; at += threads.count()) {
            const int row = first_row + at / runs, run = at % runs;
            PhiloxBlock<ScalarLanes> block[1];
            noise_draws<ScalarLanes>(run, row, keys, block);
            const int first = row * job.size + kColumnsPerBlock * run;
            if (aligned) {
                const BaseRun base = *reinterpret_cast<const BaseRun*>(job.base + first);
                GrayRun grays{};
                for (int q = 0; q < 4; ++q) {  // the base is not negative, so that no sign need be carried
                    const std::uint32_t draws = block[0].word[q], pair = base.pair[q];
                    const std::uint32_t low = noisy_gray(static_cast<int>(pair & 0xFFFFU), draws & 0xFFFFU, job.half);
                    const std::uint32_t high = noisy_gray(static_cast<int>(pair >> 16), draws >> 16, job.half);
                    grays.quad[q / 2] |= (low | high << 8) << (16 * (q % 2));
                }
                *reinterpret_cast<GrayRun*>(picture + first) = grays;
            } else {
                const int left = job.size - kColumnsPerBlock * run;
                for (int k = 0; k < kColumnsPerBlock; ++k) {
                    if (k >= left) continue;  // not break: the loop is unrolled, its draws stay in registers
                    const std::uint32_t draw = block[0].word[k / 2] >> (16 * (k % 2)) & 0xFFFFU;
                    picture[first + k] = static_cast<std::uint8_t>(noisy_gray(job.base[first + k], draw, job.half));
                }
            }
        }
    });
}

}  // namespace onepfrac
