// Scenes: graded pictures of fractals in colour over a background of clouds, blurred or not (Anderson and Farrell,
// "Improving fractal pre-training", WACV 2022, sections 3.2 and 3.3, and their release's MultiGenerator). All of it is
// integer arithmetic, and one body serves all: phases over threads as in block.h, on the CPU with one thread whose
// inner loops run along rows, so that the compiler vectorises them.
//
// Background. A diamond-square surface x on a grid of 2^n + 1 points a side, of which the canvas is a corner: corners
// uniform in 0..1; level k halves the cells and adds noise uniform in +- amplitude[k - 1] to the mean of the four
// neighbours, in the square step of those across the border where there is none. Heights are in 4096ths.
//   Level k turns m x m cells, m = 2^(k-1), into 2 m x 2 m. Its new points are three matrices: D(i, j) in the middle of
//   a cell, i, j < m; H(i, j) in the middle of a cell's upper side, i <= m, j < m; V(i, j) of its left side, i < m,
//   j <= m. Rows of noise have m + 1 numbers each (the last of D and H is not used): point (i, j) of D, H, V takes
//   number base(k) + (i, m + i or 2 m + 1 + i) (m + 1) + j; the corners take 0..3. Number q is half q % 8 of the Philox
//   block with counter (q / 8, 0, background, 0), of 16 bits.
// Colour: hue (a full turn is 256), saturation and value are scale x + shift in 8 bits, hue wrapping, the others
// clipped. Objects: each a square picture of grades, turned over, scaled to its side by the nearest pixel (means
// between hues would be colours that no pixel has) and painted where it is not empty: hue = grade + hue of the object,
// wrapping. Blur: 3x3, separable, (w, 256 - 2 w, w) / 256, the border mirrored without repeating the outermost row.
#pragma once

#include "philox.h"

namespace onepfrac {

inline constexpr std::uint32_t kBackgroundPurpose = 8U;  // beside those of philox.h, where the list is

inline constexpr int kMaxLevels = 10;
inline constexpr int kMinSceneSize = 8, kMaxSceneSize = 1 << kMaxLevels;
inline constexpr int kMaxObjects = 64;
inline constexpr int kMaxSide = 4096;                 // of an object, and of a picture of grades
inline constexpr std::int32_t kMaxAmplitude = 32768;  // 0.5
inline constexpr std::int32_t kMaxScale = 255 * 256;  // of scales and shifts, 256ths
inline constexpr std::int32_t kMaxBlur = 85;          // every weight a third

enum Flip : std::int32_t { kTranspose = 1, kUpsideDown = 2, kLeftToRight = 4 };  // done in this order

struct SceneObject {
    std::int32_t picture;                 // which
    std::int32_t flips;                   // of Flip
    std::int32_t hue, saturation, value;  // 0..255
    std::int32_t side;                    // on the canvas, in pixels
    std::int32_t left, top;               // of its corner, in pixels; may lie outside
};

// height x scale + shift, both in 256ths.
struct Tint {
    std::int32_t scale, shift;
};

struct Scene {
    Key key;                             // of the background
    std::int32_t objects;                // how many
    std::int32_t background;             // 0: black
    std::int32_t amplitude[kMaxLevels];  // of each level's noise, 65536ths
    Tint hue, saturation, value;         // of the background
    std::int32_t blur;                   // w, 256ths; 0 leaves the picture as it is
};

inline constexpr int kObjectWords = static_cast<int>(sizeof(SceneObject) / 4);
inline constexpr int kSceneWords = static_cast<int>(sizeof(Scene) / 4);
static_assert(sizeof(SceneObject) == 4 * 8 && sizeof(Scene) == 4 * (11 + kMaxLevels));

struct SceneJob {
    const std::uint8_t* pictures;  // [pictures, side, side], grades
    int side;
    const Scene* scenes;         // [batch]
    const SceneObject* objects;  // [batch, most_objects]
    int most_objects;
    std::int64_t batch;
    int size;                  // of the square canvas, in pixels
    std::uint8_t* out;         // [batch, 3, size, size]
    unsigned char* workspace;  // [batch, scene_layout(size).bytes], 16 bytes aligned; not used on the CPU
};

// Levels of the surface: 2^levels >= size.
ONEPFRAC_FN int scene_levels(int size) {
    int levels = 0;
    while ((1 << levels) < size) ++levels;
    return levels;
}

// Numbers of noise of level k, and of all levels up to k with the corners.
ONEPFRAC_FN int noise_of_level(int k) {
    const int m = 1 << (k - 1);
    return (3 * m + 1) * (m + 1);
}
ONEPFRAC_FN int noise_up_to(int k) {
    int numbers = 4;
    for (int level = 1; level <= k; ++level) numbers += noise_of_level(level);
    return numbers;
}

// A grid of c x c cells has c + 1 rows and one column to spare; the matrix D has a column on either side, so that what
// lies across the border is next to it.
ONEPFRAC_FN int grid_stride(int cells) {
    return cells + 2;
}

// One image's working memory: offsets in bytes. The blur comes after the background and uses the same memory.
struct SceneLayout {
    std::int64_t noise;    // uint16, all numbers, rounded up to what lanes write
    std::int64_t even;     // int16, the grid after levels n, n - 2, ...
    std::int64_t odd;      // int16, the grid after levels n - 1, n - 3, ...
    std::int64_t middles;  // int16, the matrix D
    std::int64_t blurred;  // uint16 [3, size, size], rows blurred
    std::int64_t columns;  // int32 [kMaxSide], where an object's columns are in its picture
    std::int64_t colours;  // uint32 [256], an object's colour of each grade, red in the low byte
    std::int64_t bytes;
};

inline constexpr int kNoiseRound = 128;  // eight numbers a lane, sixteen lanes

ONEPFRAC_FN SceneLayout scene_layout(int size) {
    const auto lines = [](std::int64_t bytes) { return (bytes + 63) / 64 * 64; };
    const int levels = scene_levels(size);
    const std::int64_t cells = std::int64_t{1} << levels, half = cells / 2;
    SceneLayout layout{};
    layout.noise = 0;
    layout.even =
        lines(2 * static_cast<std::int64_t>((noise_up_to(levels) + kNoiseRound - 1) / kNoiseRound * kNoiseRound));
    layout.odd = layout.even + lines(2 * (cells + 1) * (cells + 2));
    layout.middles = layout.odd + lines(2 * (half + 1) * (half + 2));
    const std::int64_t background = layout.middles + lines(2 * half * (half + 2));
    layout.blurred = 0;
    const std::int64_t blur = lines(6 * static_cast<std::int64_t>(size) * size);
    layout.columns = background > blur ? background : blur;
    layout.colours = layout.columns + 4 * kMaxSide;
    layout.bytes = layout.colours + 4 * 256;
    return layout;
}

// Calls visit(row, column) for a thread's share of the cells. One thread alone goes along the rows, with a column of 64
// bits: of a shorter one that may wrap (-fwrapv is among Python's own flags) the compiler cannot tell that it runs
// along memory, and does not vectorise.
template <class Visit>
ONEPFRAC_FN void each_cell(int thread, int count, int rows, int columns, Visit&& visit) {
    if (count == 1) {
        for (int row = 0; row < rows; ++row) {
#if !defined(__CUDACC__)
#pragma GCC ivdep
#endif
            for (std::int64_t column = 0; column < columns; ++column) visit(row, column);
        }
        return;
    }
    for (int at = thread; at < rows * columns; at += count) {
        const int row = at / columns;
        visit(row, at - row * columns);
    }
}

// One channel of a colour: 5 for red, 3 for green, 1 for blue. value - round(value saturation t / (255 256)), t being
// how far the hue is from the channel's own, 0..256.
ONEPFRAC_FN std::int32_t channel_of_hsv(std::int32_t hue, std::int32_t saturation_value, std::int32_t value,
                                        std::int32_t channel) {
    std::int32_t k = 6 * hue + 256 * channel;
    k = k >= 1536 ? k - 1536 : k;
    std::int32_t t = k < 1024 - k ? k : 1024 - k;
    t = t < 256 ? t : 256;
    t = t > 0 ? t : 0;
    const std::uint32_t part = (static_cast<std::uint32_t>(saturation_value * t) + 32640U) >> 8;
    return value - static_cast<std::int32_t>(part * 0x8081U >> 23);  // part / 255, exact below 65536
}

ONEPFRAC_FN std::int32_t tinted(const Tint& tint, std::int32_t height) {
    return (height * tint.scale + (tint.shift << 12)) >> 20;
}

ONEPFRAC_FN std::int32_t clipped(std::int32_t v) {
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

// The mean of four heights and a number of noise.
ONEPFRAC_FN std::int16_t displaced(std::int32_t sum, std::uint16_t number, std::int32_t amplitude) {
    return static_cast<std::int16_t>(((sum + 2) >> 2) +
                                     (((static_cast<std::int32_t>(number) - 32768) * amplitude) >> 19));
}

template <class L, class Threads>
ONEPFRAC_FN void draw_noise_numbers(Threads& threads, Key key, int numbers, std::uint16_t* noise) {
    const int count = threads.count();
    threads.each([&](int thread) {
        const RoundKeys<L> keys(key);
        const typename L::U zero = L::splat_u(0U), purpose = L::splat_u(kBackgroundPurpose);
        const int stride = L::kWidth * count;
        for (int first = thread * L::kWidth; 8 * first < numbers; first += stride) {
            const typename L::U index = L::add(L::iota(), L::splat_u(static_cast<std::uint32_t>(first)));
            const PhiloxBlock<L> block = philox4x32<L>(index, zero, purpose, zero, keys);
            std::uint16_t* to = noise + 8 * first;
            if constexpr (L::kWidth == 1) {
                for (int q = 0; q < 4; ++q) {
                    to[2 * q] = static_cast<std::uint16_t>(block.word[q]);
                    to[2 * q + 1] = static_cast<std::uint16_t>(block.word[q] >> 16);
                }
            } else {
                std::uint32_t word[4][L::kWidth];
                for (int q = 0; q < 4; ++q) L::store_u(word[q], block.word[q]);
                for (int i = 0; i < L::kWidth; ++i) {
                    for (int q = 0; q < 4; ++q) {
                        to[8 * i + 2 * q] = static_cast<std::uint16_t>(word[q][i]);
                        to[8 * i + 2 * q + 1] = static_cast<std::uint16_t>(word[q][i] >> 16);
                    }
                }
            }
        }
    });
}

// One level, from `coarse` (m x m cells) to `fine`; rows from `rows` on are not needed.
template <class Threads>
ONEPFRAC_FN void refine(Threads& threads, int m, std::int32_t amplitude, const std::uint16_t* noise,
                        const std::int16_t* coarse, std::int16_t* middles, std::int16_t* fine, int rows) {
    const int count = threads.count();
    const int from = grid_stride(m), to = grid_stride(2 * m), across = m + 2;
    const auto* noise_h = noise + m * (m + 1);
    const auto* noise_v = noise_h + (m + 1) * (m + 1);
    threads.each([&](int thread) {
        const auto middle = [&](int i, auto j) {
            const std::int16_t* upper = coarse + i * from + j;
            const std::int16_t* lower = upper + from;
            return displaced(upper[0] + upper[1] + lower[0] + lower[1], noise[i * (m + 1) + j], amplitude);
        };
        each_cell(thread, count, m, m, [&](int i, auto j) { middles[i * across + 1 + j] = middle(i, j); });
        each_cell(thread, count, m, 2,
                  [&](int i, auto end) { middles[i * across + end * (m + 1)] = middle(i, end == 0 ? m - 1 : 0); });
    });
    threads.each([&](int thread) {
        const int whole = m + 1 < (rows + 1) / 2 ? m + 1 : (rows + 1) / 2, half = m < rows / 2 ? m : rows / 2;
        each_cell(thread, count, whole, m + 1, [&](int i, auto j) {
            const std::int16_t* at = coarse + i * from + j;
            const std::int16_t* upper = middles + (i > 0 ? i - 1 : m - 1) * across + 1 + j;
            const std::int16_t* lower = middles + (i < m ? i : 0) * across + 1 + j;
            std::int16_t* pair = fine + 2 * i * to + 2 * j;
            pair[0] = at[0];
            pair[1] = displaced(at[0] + at[1] + upper[0] + lower[0], noise_h[i * (m + 1) + j], amplitude);
        });
        each_cell(thread, count, half, m + 1, [&](int i, auto j) {
            const std::int16_t* at = coarse + i * from + j;
            const std::int16_t* beside = middles + i * across + j;
            std::int16_t* pair = fine + (2 * i + 1) * to + 2 * j;
            pair[0] = displaced(at[0] + at[from] + beside[0] + beside[1], noise_v[i * (m + 1) + j], amplitude);
            pair[1] = beside[1];
        });
    });
}

template <class L, class Threads>
ONEPFRAC_FN void paint_background(Threads& threads, const Scene& scene, int size, const SceneLayout& layout,
                                  unsigned char* memory, std::uint8_t* out) {
    const int count = threads.count(), pixels = size * size;
    const int levels = scene_levels(size), cells = 1 << levels;
    auto* noise = reinterpret_cast<std::uint16_t*>(memory + layout.noise);
    auto* middles = reinterpret_cast<std::int16_t*>(memory + layout.middles);
    const auto grid_after = [&](int level) {
        return reinterpret_cast<std::int16_t*>(memory + ((levels - level) % 2 == 0 ? layout.even : layout.odd));
    };
    draw_noise_numbers<L>(threads, scene.key, noise_up_to(levels), noise);
    threads.each([&](int thread) {
        if (thread != 0) return;
        std::int16_t* corners = grid_after(0);
        for (int i = 0; i < 4; ++i) {
            corners[i / 2 * grid_stride(1) + i % 2] = static_cast<std::int16_t>(noise[i] >> 4);
        }
        corners[2] = corners[grid_stride(1) + 2] = 0;  // the spare column
    });
    for (int k = 1; k <= levels; ++k) {
        refine(threads, 1 << (k - 1), scene.amplitude[k - 1], noise + noise_up_to(k - 1), grid_after(k - 1), middles,
               grid_after(k), k < levels ? (1 << k) + 1 : size);
    }
    threads.each([&](int thread) {
        const std::int16_t* heights = grid_after(levels);
        const Tint hue_tint = scene.hue, saturation_tint = scene.saturation, value_tint = scene.value;
        each_cell(thread, count, size, size, [&](int row, auto column) {
            const std::int32_t height = heights[row * grid_stride(cells) + column];
            const std::int32_t hue = tinted(hue_tint, height) & 255;
            const std::int32_t value = clipped(tinted(value_tint, height));
            const std::int32_t both = value * clipped(tinted(saturation_tint, height));
            std::uint8_t* to = out + row * size + column;
            to[0] = static_cast<std::uint8_t>(channel_of_hsv(hue, both, value, 5));
            to[pixels] = static_cast<std::uint8_t>(channel_of_hsv(hue, both, value, 3));
            to[2 * pixels] = static_cast<std::uint8_t>(channel_of_hsv(hue, both, value, 1));
        });
    });
}

template <class Threads>
ONEPFRAC_FN void paint_object(Threads& threads, const SceneJob& job, const SceneObject& object,
                              const SceneLayout& layout, unsigned char* memory, std::uint8_t* out) {
    const int count = threads.count(), size = job.size, pixels = size * size;
    auto* columns = reinterpret_cast<std::int32_t*>(memory + layout.columns);
    auto* colours = reinterpret_cast<std::uint32_t*>(memory + layout.colours);
    const bool transposed = (object.flips & kTranspose) != 0;
    const auto source = [&](int at, int flip) {
        const int near = (2 * at + 1) * job.side / (2 * object.side);
        return (object.flips & flip) != 0 ? job.side - 1 - near : near;
    };
    threads.each([&](int thread) {
        for (int j = thread; j < object.side; j += count) {
            columns[j] = source(j, kLeftToRight) * (transposed ? job.side : 1);
        }
        const std::int32_t both = object.saturation * object.value;
        for (int grade = thread; grade < 256; grade += count) {
            const std::int32_t hue = (grade + object.hue) & 255;
            colours[grade] = static_cast<std::uint32_t>(channel_of_hsv(hue, both, object.value, 5) |
                                                        channel_of_hsv(hue, both, object.value, 3) << 8 |
                                                        channel_of_hsv(hue, both, object.value, 1) << 16);
        }
    });
    threads.each([&](int thread) {
        const std::uint8_t* picture = job.pictures + static_cast<std::int64_t>(object.picture) * job.side * job.side;
        const int first_row = object.top < 0 ? -object.top : 0, first_column = object.left < 0 ? -object.left : 0;
        const int end_row = object.side < size - object.top ? object.side : size - object.top;
        const int end_column = object.side < size - object.left ? object.side : size - object.left;
        if (end_row <= first_row || end_column <= first_column) return;
        each_cell(thread, count, end_row - first_row, end_column - first_column, [&](int row, auto column) {
            const int i = first_row + row;
            const auto j = first_column + column;
            const int grade = picture[source(i, kUpsideDown) * (transposed ? 1 : job.side) + columns[j]];
            if (grade == 0) return;
            const std::uint32_t colour = colours[grade];
            std::uint8_t* to = out + (object.top + i) * size + object.left + j;
            to[0] = static_cast<std::uint8_t>(colour);
            to[pixels] = static_cast<std::uint8_t>(colour >> 8);
            to[2 * pixels] = static_cast<std::uint8_t>(colour >> 16);
        });
    });
}

template <class Threads>
ONEPFRAC_FN void blur_scene(Threads& threads, int size, std::int32_t weight, std::uint16_t* rows, std::uint8_t* out) {
    const int count = threads.count();
    const std::int32_t middle = 256 - 2 * weight;
    threads.each([&](int thread) {
        each_cell(thread, count, 3 * size, size - 2, [&](int row, auto column) {
            const std::uint8_t* at = out + row * size + 1 + column;
            rows[row * size + 1 + column] = static_cast<std::uint16_t>(middle * at[0] + weight * (at[-1] + at[1]));
        });
        each_cell(thread, count, 3 * size, 2, [&](int row, auto end) {
            const std::uint8_t* at = out + row * size + (end == 0 ? 0 : size - 1);
            const int beside = end == 0 ? at[1] : at[-1];
            rows[row * size + (end == 0 ? 0 : size - 1)] =
                static_cast<std::uint16_t>(middle * at[0] + 2 * weight * beside);
        });
    });
    threads.each([&](int thread) {
        each_cell(thread, count, 3 * size, size, [&](int row, auto column) {
            const int of_plane = row % size;
            const std::uint16_t* at = rows + row * size + column;
            const std::uint16_t* upper = at + (of_plane > 0 ? -size : size);
            const std::uint16_t* lower = at + (of_plane < size - 1 ? size : -size);
            out[row * size + column] =
                static_cast<std::uint8_t>((middle * at[0] + weight * (upper[0] + lower[0]) + 32768) >> 16);
        });
    });
}

// One scene. `memory` is its share of the workspace.
template <class L, class Threads>
ONEPFRAC_FN void paint_scene(Threads& threads, const SceneJob& job, std::int64_t image, unsigned char* memory) {
    const SceneLayout layout = scene_layout(job.size);
    const Scene& scene = job.scenes[image];
    const int count = threads.count(), bytes = 3 * job.size * job.size;
    std::uint8_t* out = job.out + image * bytes;
    if (scene.background != 0) {
        paint_background<L>(threads, scene, job.size, layout, memory, out);
    } else {
        threads.each([&](int thread) { each_cell(thread, count, 1, bytes, [&](int, auto at) { out[at] = 0U; }); });
    }
    for (int i = 0; i < scene.objects; ++i) {
        paint_object(threads, job, job.objects[image * job.most_objects + i], layout, memory, out);
    }
    if (scene.blur != 0) {
        blur_scene(threads, job.size, scene.blur, reinterpret_cast<std::uint16_t*>(memory + layout.blurred), out);
    }
}

}  // namespace onepfrac
