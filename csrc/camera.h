// The camera: how a picture is taken of a canvas. A shot holds the view (where the picture's pixels lie on the canvas),
// the steps that are done to its grays, and a rectangle erased at the end.
//
// View. The centre of a picture's pixel lies at a place on the canvas, in fixed point. The value there is the sum of
// the canvas pixels around it, weighted by a kernel of columns times a kernel of rows: Keys' cubic with a = -1/2, or
// the triangle, as Pillow's BICUBIC and BILINEAR (Keys, "Cubic convolution interpolation for digital image processing",
// 1981). Each kernel is widened by the footprint, the view's scale along that axis of the canvas, where that exceeds 1.
// Places are rounded to 1/128 of a canvas pixel; the weights of a place are integers that add up to 2048, so that all
// sums are exact and their order is free. Off the canvas its edge goes on.
//
// Steps. Each is the operation of Pillow of that name on 8-bit grays. Statistics (contrast, autocontrast, equalize) are
// those of the picture's pixels, without what a later window is going to cover.
#pragma once

#include "canvas.h"
#include "pixels.h"

namespace onepfrac {

inline constexpr int kMaxSteps = 16;
inline constexpr int kMaxWindows = 8;
inline constexpr int kMaxSharpness = 8;  // sharpness steps of a shot
inline constexpr int kPhases = 128;
inline constexpr int kWeightBits = 11;  // the weights of a place add up to 2^11 along each axis
inline constexpr int kInkGray = 127;    // of a canvas in bits
inline constexpr std::int64_t kFixedOne = std::int64_t{1} << 32;
inline constexpr int kNoiseLevels = 4096;  // of the normal noise that erases: equally probable values, in a table

enum class Step : std::int32_t {
    kNone = 0,
    kWindow = 1,
    kBrightness = 2,
    kContrast = 3,
    kSharpness = 4,
    kAutocontrast = 5,
    kEqualize = 6,
    kPosterize = 7,
    kSolarize = 8,
    kSolarizeAdd = 9,
    kInvert = 10,
};
inline constexpr int kLastStep = 10;

// What a shot is to the executors; 32-bit words, the same bytes on host and device.
struct Shot {
    Key key;                 // of the noise
    std::int32_t erased[4];  // top, left, height, width in pixels of the picture
    float footprint[2];      // of x and y, in canvas pixels, 1 or more
    std::int32_t num_steps;  // none of them kNone
    std::int32_t num_windows;
    Step steps[kMaxSteps];
    float amounts[kMaxSteps];
    // Fixed point of 2^-32. Pixel (column i, row j) is at v[0] i + v[1] j + v[2] along x, v[3] i + v[4] j + v[5] along
    // y.
    std::int64_t view[6];                  // canvas pixels, with the centre of pixel (0, 0) at (0.5, 0.5)
    std::int64_t windows[kMaxWindows][6];  // frames of width and height 1
};

inline constexpr int kShotWords = static_cast<int>(sizeof(Shot) / sizeof(std::uint32_t));
static_assert(sizeof(Shot) == 4 * (2 + 4 + 2 + 2 + 2 * kMaxSteps + 12 * (1 + kMaxWindows)));

// Canvases in bits as render draws them, or in grays; the other pointer is null.
struct Canvases {
    const std::uint32_t* bits;  // [canvases, height, words a row]
    const std::uint8_t* grays;  // [canvases, height, width]
    int width, height;
    const std::int64_t* which;  // [batch]: the canvas of each picture; null: its own number
};

// What pictures become in memory.
struct Film {
    int size;      // width and height of a picture
    int channels;  // all get the same grays
    bool channels_last;
    bool bilinear;
    PixelType type;
    int table_rows;     // 1, or channels
    const void* table;  // [table_rows, 256] in the type: the value of each gray
    const void* noise;  // [table_rows, kNoiseLevels] in the type: the values that erase
    void* out;          // [batch, channels, size, size] or [batch, size, size, channels]
};

struct PictureJob {
    const Shot* shots;  // [batch]
    std::int64_t batch;
    Canvases canvases;
    Film film;
};

ONEPFRAC_FN int pixel_bytes(PixelType type) {
    return type == PixelType::kUint8 ? 1 : type == PixelType::kFloat32 ? 4 : 2;
}

// ---- view -----------------------------------------------------------------------------------------------------------

// A place along one axis: the canvas pixel at or before it, and how far behind that in 1/128.
struct Place {
    int base, phase;
};

ONEPFRAC_FN Place place_of(std::int64_t position) {
    const std::int64_t steps = (position - (kFixedOne >> 1) + (kFixedOne / kPhases >> 1)) >> 25;
    return {static_cast<int>(steps >> 7), static_cast<int>(steps & (kPhases - 1))};
}
static_assert(kFixedOne / kPhases == 1 << 25 && kPhases == 1 << 7);

ONEPFRAC_FN std::int64_t position_at(const std::int64_t* axis, int column, int row) {
    return axis[0] * column + axis[1] * row + axis[2];
}

// How many taps a kernel has on each side of a place: they are base - reach + 1 ... base + reach.
ONEPFRAC_FN int reach_of(float footprint, bool bilinear) {
    const float support = bilinear ? footprint : 2.0F * footprint;
    const int whole = static_cast<int>(support);
    return static_cast<float>(whole) < support ? whole + 1 : whole;
}

ONEPFRAC_FN float kernel_at(float distance, bool bilinear) {
    const float d = distance < 0 ? -distance : distance;
    if (bilinear) return d < 1.0F ? 1.0F - d : 0.0F;
    const float inner = ScalarLanes::fma(ScalarLanes::fma(1.5F, d, -2.5F), d * d, 1.0F);
    const float outer = ScalarLanes::fma(ScalarLanes::fma(ScalarLanes::fma(-0.5F, d, 2.5F), d, -4.0F), d, 2.0F);
    return d < 1.0F ? inner : d < 2.0F ? outer : 0.0F;
}

// The kernel along one axis. Weights come from running sums rounded to integers, tap after tap, so that they add up to
// 2^11 whatever the rounding.
struct Kernel {
    int reach;
    float scale;  // from 1/128 of a canvas pixel to the kernel's own unit
    bool bilinear;

    ONEPFRAC_FN Kernel(float footprint, bool bilinear_kernel)
        : reach(reach_of(footprint, bilinear_kernel)),
          scale((1.0F / static_cast<float>(kPhases)) / footprint),
          bilinear(bilinear_kernel) {}

    ONEPFRAC_FN int taps() const { return 2 * reach; }
    ONEPFRAC_FN float raw(int tap, int phase) const {
        return kernel_at(static_cast<float>((tap - reach + 1) * kPhases - phase) * scale, bilinear);
    }
    ONEPFRAC_FN float sum(int phase) const {
        float total = 0.0F;
        for (int tap = 0; tap < taps(); ++tap) total += raw(tap, phase);
        return total;
    }
    // The weight sum of all taps so far, as an integer; `factor` is 2048 / sum(phase).
    static ONEPFRAC_FN int edge(float running, float factor) {
        constexpr float kRound = 12582912.0F;  // 1.5 x 2^23: adding it rounds to an integer
        return static_cast<int>((running * factor + kRound) - kRound);
    }
    static ONEPFRAC_FN float factor_of(float total) { return static_cast<float>(1 << kWeightBits) / total; }

    // weights[tap] of a phase.
    ONEPFRAC_FN void weights(int phase, std::int16_t* out) const {
        const float factor = factor_of(sum(phase));
        float running = 0.0F;
        int before = 0;
        for (int tap = 0; tap < taps(); ++tap) {
            running += raw(tap, phase);
            const int now = edge(running, factor);
            out[tap] = static_cast<std::int16_t>(now - before);
            before = now;
        }
    }
};

// A weighted sum over columns and rows (grays x 2^22) as a gray.
ONEPFRAC_FN int gray_of_sum(std::int32_t sum) {
    const int gray = (sum + (1 << (2 * kWeightBits - 1))) >> (2 * kWeightBits);
    return gray < 0 ? 0 : gray > 255 ? 255 : gray;
}

ONEPFRAC_FN int clamp_index(int index, int count) {
    return index < 0 ? 0 : index >= count ? count - 1 : index;
}

// Whether a pixel lies on the window's frame.
ONEPFRAC_FN bool is_inside(const std::int64_t* window, int column, int row) {
    const std::int64_t u = position_at(window, column, row), v = position_at(window + 3, column, row);
    return u >= 0 && u < kFixedOne && v >= 0 && v < kFixedOne;
}

// ---- steps ----------------------------------------------------------------------------------------------------------

ONEPFRAC_FN bool needs_statistics(Step step) {
    return step == Step::kContrast || step == Step::kAutocontrast || step == Step::kEqualize;
}

// Pillow's blend of two grays: truncated towards zero, clipped.
ONEPFRAC_FN int blend(int from, int to, float factor) {
    const float product = factor * static_cast<float>(to - from);
    const float value = static_cast<float>(from) + product;
    const float raised = value > 0.0F ? value : 0.0F;
    return static_cast<int>(raised < 255.0F ? raised : 255.0F);
}

// Pillow's SMOOTH filter at the middle of three rows, then the blend of Sharpness.
ONEPFRAC_FN int sharpened(const std::uint8_t* above, const std::uint8_t* here, const std::uint8_t* below,
                          float factor) {
    const int around = above[-1] + above[0] + above[1] + here[-1] + here[1] + below[-1] + below[0] + below[1];
    const int sum = around + 5 * here[0];
    return blend((2 * sum + 13) / 26, here[0], factor);
}

// What a step needs to know of the picture: of contrast, the mean; of autocontrast, the darkest and the brightest gray.
struct Statistics {
    int low, high;
};

ONEPFRAC_FN Statistics statistics_of(Step step, const std::uint32_t* histogram) {
    if (step == Step::kContrast) {
        std::uint64_t count = 0, total = 0;
        for (int v = 0; v < 256; ++v) {
            count += histogram[v];
            total += static_cast<std::uint64_t>(v) * histogram[v];
        }
        return {count == 0 ? 0 : static_cast<int>((2 * total + count) / (2 * count)), 0};
    }
    Statistics found{256, -1};
    for (int v = 0; v < 256; ++v) {
        if (histogram[v] == 0) continue;
        if (found.low > v) found.low = v;
        found.high = v;
    }
    return found;
}

// The table of equalize.
ONEPFRAC_FN void equalize_table(const std::uint32_t* histogram, std::uint8_t* table) {
    std::uint32_t count = 0, last = 0;
    for (int v = 0; v < 256; ++v) {
        count += histogram[v];
        if (histogram[v] != 0) last = histogram[v];
    }
    const std::uint32_t part = (count - last) / 255U;
    std::uint32_t below = part / 2;
    for (int v = 0; v < 256; ++v) {
        const std::uint32_t gray = part == 0 ? static_cast<std::uint32_t>(v) : below / part;
        table[v] = static_cast<std::uint8_t>(gray > 255U ? 255U : gray);
        below += histogram[v];
    }
}

// Entry v of the table of any other step that has one.
ONEPFRAC_FN int toned(Step step, float amount, Statistics statistics, int v) {
    const int whole = static_cast<int>(amount);
    switch (step) {
        case Step::kBrightness:
            return blend(0, v, amount);
        case Step::kContrast:
            return blend(statistics.low, v, amount);
        case Step::kAutocontrast: {
            if (statistics.high <= statistics.low) return v;
            // Pillow's own order of operations in float64: the brightest gray may come out as 254.
            const double scale = 255.0 / static_cast<double>(statistics.high - statistics.low);
            const double offset = -static_cast<double>(statistics.low) * scale;
            const int gray = static_cast<int>(static_cast<double>(v) * scale + offset);
            return gray < 0 ? 0 : gray > 255 ? 255 : gray;
        }
        case Step::kPosterize:
            return v & ~((1 << (8 - whole)) - 1);
        case Step::kSolarize:
            return v < whole ? v : 255 - v;
        case Step::kSolarizeAdd:
            return v >= 128 ? v : v + whole > 255 ? 255 : v + whole;
        case Step::kInvert:
            return 255 - v;
        default:
            return v;
    }
}

// ---- noise ----------------------------------------------------------------------------------------------------------

// Levels of the normal noise: column c of a row takes 12 bits of half c % 2 of word (c % 8) / 2 of the Philox block
// with counter (c / 8, row, purpose, channel).
inline constexpr int kNoisePerBlock = 8;

template <class L>
ONEPFRAC_FN PhiloxBlock<L> noise_block(typename L::U block, int row, int channel, const RoundKeys<L>& keys) {
    return philox4x32<L>(block, L::splat_u(static_cast<std::uint32_t>(row)),
                         L::splat_u(static_cast<std::uint32_t>(Purpose::kNoise)),
                         L::splat_u(static_cast<std::uint32_t>(channel)), keys);
}

ONEPFRAC_FN std::uint32_t noise_level(std::uint32_t word, int half) {
    return half == 0 ? (word & 0xFFFFU) >> 4 : word >> 20;
}

}  // namespace onepfrac
