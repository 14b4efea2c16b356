// The released generators' arithmetic to the letter: float64, one orbit from the origin, start point inked. This is the
// readable specification of an image; the renderer (chaos_game.h) is its fast, parallel relative.
//
// Source: the generators of FractalDB (Kataoka et al., IJCV 2022) and 1p-frac (Nakamura et al., ECCV 2024).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "canvas.h"

namespace onepfrac {

// Inks `mask`, size x size bytes of 0 or 1, row 0 on top. `maps` holds 6 N numbers, a map's six as a b e / c d f. The
// orbit has as many points as there are draws; the last draw is not used. Brush point or fill.
inline void replay(std::span<const double> maps, std::span<const double> probabilities, std::span<const double> draws,
                   int size, int pad, Brush brush, std::uint8_t* mask) {
    const std::size_t count = draws.size();
    std::vector<double> xs(count), ys(count);
    double x = 0.0, y = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
        xs[i] = x;
        ys[i] = y;
        double running = 0.0;
        for (std::size_t j = 0; j < probabilities.size(); ++j) {
            running += probabilities[j];
            if (draws[i] <= running) {
                const double* m = maps.data() + 6 * j;
                const double next_x = x * m[0] + y * m[1] + m[2];
                y = x * m[3] + y * m[4] + m[5];
                x = next_x;
                break;
            }
        }
    }

    // Shifted so that the smallest is zero, scaled by the largest, truncated; a degenerate axis is centred.
    const auto to_pixels = [&](std::vector<double>& values) {
        const double low = *std::min_element(values.begin(), values.end());
        const double extent = *std::max_element(values.begin(), values.end()) - low;
        std::vector<int> pixels(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double share = extent > 0.0 ? (values[i] - low) / extent * (size - 2.0 * pad) + pad : 0.5 * size;
            pixels[i] = static_cast<int>(share);
        }
        return pixels;
    };
    const std::vector<int> px = to_pixels(xs), py = to_pixels(ys);

    const int first = brush == Brush::kPoint ? 0 : 1;
    const int last = brush == Brush::kPoint ? 0 : 3;
    for (std::size_t i = 0; i < count; ++i) {
        for (int row = py[i] + first; row <= std::min(py[i] + last, size - 1); ++row) {
            for (int column = px[i] + first; column <= std::min(px[i] + last, size - 1); ++column) {
                mask[static_cast<std::ptrdiff_t>(size - 1 - row) * size + column] = 1;
            }
        }
    }
}

}  // namespace onepfrac
