#include "../draw_noise.h"
#include "../lanes_scalar.h"

namespace onepfrac {

void draw_noise_scalar(const NoiseJob& job, std::uint64_t key, std::uint8_t* out) {
    draw_noise_image<CpuScalarLanes>(job, key, out);
}

}  // namespace onepfrac
