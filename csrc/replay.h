// The released generators' arithmetic to the letter: float64, one orbit from the origin, start point inked. This is the
// readable specification of an image; the renderer (chaos_game.h) is its fast, parallel relative.
//
// Source: the generators of FractalDB (Kataoka et al., IJCV 2022) and 1p-frac (Nakamura et al., ECCV 2024).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "canvas.h"

namespace onepfrac {

// Inks `mask`, size x size bytes of 0 or 1, row 0 on top. `maps` holds 6 N numbers, a map's six as a b e / c d f. The
// orbit has as many points as there are draws; the last draw is not used. Brush point or fill. Returns false, and inks
// nothing, where the points or their extent are not finite: no pixel is theirs. check() is called now and then, and may
// throw to end it.
template <class Check>
bool replay(std::span<const double> maps, std::span<const double> probabilities, std::span<const double> draws,
            int size, int pad, Brush brush, std::uint8_t* mask, Check&& check) {
    const auto play = [&](auto&& visit) {
        double x = 0.0, y = 0.0;
        for (std::size_t i = 0; i < draws.size(); ++i) {
            if (i % 65536 == 65535) check();
            visit(x, y);
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
    };

    // Played twice, for the bounds and for the pixels, so that nothing need be kept.
    double low[2] = {0.0, 0.0}, high[2] = {0.0, 0.0};  // of x and y; the start point counts
    bool finite = true;
    play([&](double x, double y) {
        finite = finite && std::isfinite(x) && std::isfinite(y);
        low[0] = std::min(low[0], x);
        high[0] = std::max(high[0], x);
        low[1] = std::min(low[1], y);
        high[1] = std::max(high[1], y);
    });
    if (!finite || !std::isfinite(high[0] - low[0]) || !std::isfinite(high[1] - low[1])) return false;

    // Shifted so that the smallest is zero, scaled by the largest, truncated; a degenerate axis is centred.
    const auto to_pixel = [&](double value, int axis) {
        const double extent = high[axis] - low[axis];
        const double share = extent > 0.0 ? (value - low[axis]) / extent * (size - 2.0 * pad) + pad : 0.5 * size;
        return static_cast<int>(share);
    };
    const int first = brush == Brush::kPoint ? 0 : 1;
    const int last = brush == Brush::kPoint ? 0 : 3;
    play([&](double x, double y) {
        // Another thread may have changed the draws since.
        const bool within = x >= low[0] && x <= high[0] && y >= low[1] && y <= high[1];
        if (!within) return;
        const int px = to_pixel(x, 0), py = to_pixel(y, 1);
        for (int row = py + first; row <= std::min(py + last, size - 1); ++row) {
            for (int column = px + first; column <= std::min(px + last, size - 1); ++column) {
                mask[static_cast<std::ptrdiff_t>(size - 1 - row) * size + column] = 1;
            }
        }
    });
    return true;
}

}  // namespace onepfrac
