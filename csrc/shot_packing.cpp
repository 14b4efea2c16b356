#include "shot_packing.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace onepfrac {

namespace {

constexpr double kFarthest = 536870912.0;  // 2^29: places beyond do not fit the fixed point
constexpr double kWidest = 1024.0;         // footprint, in canvas pixels

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

std::int64_t fixed(double value) {
    return static_cast<std::int64_t>(std::rint(value * static_cast<double>(kFixedOne)));
}

// Rows (a, b, e) of an affine map as steps a column and a row, and the place of the centre of pixel (0, 0).
void pack_map(std::span<const double> map, int size, const std::string& name, std::int64_t* out) {
    for (std::size_t axis = 0; axis < 2; ++axis) {
        const double a = map[3 * axis], b = map[3 * axis + 1], e = map[3 * axis + 2];
        const double reach = (std::abs(a) + std::abs(b)) * size + std::abs(e);
        require(reach < kFarthest, name + " must be finite and stay within 2^29 pixels, got a row of " +
                                       std::to_string(a) + ", " + std::to_string(b) + ", " + std::to_string(e));
        out[3 * axis] = fixed(a);
        out[3 * axis + 1] = fixed(b);
        out[3 * axis + 2] = fixed(e + 0.5 * (a + b));
    }
}

void check_amount(Step step, double amount) {
    require(std::isfinite(amount), "amounts must be finite, got " + std::to_string(amount));
    const auto whole = [&](double high, const char* name) {
        require(amount >= 0.0 && amount <= high && amount == std::floor(amount),
                std::string("the amount of ") + name + " must be an integer in 0.." +
                    std::to_string(static_cast<int>(high)) + ", got " + std::to_string(amount));
    };
    switch (step) {
        case Step::kWindow:
            return whole(255.0, "WINDOW");
        case Step::kPosterize:
            return whole(8.0, "POSTERIZE");
        case Step::kSolarize:
            return whole(256.0, "SOLARIZE");
        case Step::kSolarizeAdd:
            return whole(255.0, "SOLARIZE_ADD");
        default:
            require(std::abs(amount) <= 1e6, "amounts must lie within 1e6, got " + std::to_string(amount));
    }
}

}  // namespace

Shot pack_shot(const ShotParts& parts, int size) {
    Shot shot{};
    shot.key = {static_cast<std::uint32_t>(parts.key), static_cast<std::uint32_t>(parts.key >> 32)};
    pack_map(parts.view, size, "views", shot.view);
    for (std::size_t axis = 0; axis < 2; ++axis) {
        const double a = parts.view[3 * axis], b = parts.view[3 * axis + 1];
        const double scale = std::sqrt(a * a + b * b);
        require(scale <= kWidest, "views must not shrink the canvas by more than 1024, got " + std::to_string(scale));
        shot.footprint[axis] = scale > 1.0 ? static_cast<float>(scale) : 1.0F;
    }
    std::size_t windows = 0;
    int sharpness = 0;
    for (std::size_t k = 0; k < parts.steps.size(); ++k) {
        const int code = parts.steps[k];  // NOLINT(bugprone-signed-char-misuse,cert-str34-c): no character
        require(code >= 0 && code <= kLastStep,
                "steps must be codes in 0.." + std::to_string(kLastStep) + ", got " + std::to_string(code));
        if (code == 0) continue;
        const auto step = static_cast<Step>(code);
        check_amount(step, parts.amounts[k]);
        require(shot.num_steps < kMaxSteps,
                "a shot must have at most 16 steps, got " +
                    std::to_string(std::ranges::count_if(parts.steps, [](int c) { return c != 0; })));
        shot.steps[shot.num_steps] = step;
        shot.amounts[shot.num_steps++] = static_cast<float>(parts.amounts[k]);
        if (step == Step::kSharpness)
            require(++sharpness <= kMaxSharpness,
                    "a shot must have at most 8 SHARPNESS steps, got " +
                        std::to_string(std::ranges::count(parts.steps, static_cast<std::int8_t>(step))));
        if (step != Step::kWindow) continue;
        require(
            windows < static_cast<std::size_t>(kMaxWindows) && 6 * windows < parts.windows.size(),
            "windows must hold one for each WINDOW step, at most 8, got " + std::to_string(parts.windows.size() / 6));
        pack_map(parts.windows.subspan(6 * windows, 6), size, "windows", shot.windows[windows]);
        ++windows;
    }
    shot.num_windows = static_cast<std::int32_t>(windows);
    const std::int64_t top = parts.erased[0], left = parts.erased[1], height = parts.erased[2], width = parts.erased[3];
    require(top >= 0 && left >= 0 && height >= 0 && width >= 0 && top + height <= size && left + width <= size,
            "erased must lie on the picture of " + std::to_string(size) + " pixels, got " + std::to_string(top) + ", " +
                std::to_string(left) + ", " + std::to_string(height) + ", " + std::to_string(width));
    if (height > 0 && width > 0) {
        for (std::size_t i = 0; i < 4; ++i) shot.erased[i] = parts.erased[i];
    }
    return shot;
}

}  // namespace onepfrac
