#include "../draw_noise.h"
#include "../lanes_avx2.h"

namespace onepfrac {

void draw_noise_avx2(const NoiseJob& job, std::uint64_t key, std::uint8_t* out) {
    draw_noise_image<Avx2Lanes>(job, key, out);
}

}  // namespace onepfrac
