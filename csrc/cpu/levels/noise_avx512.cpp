#include "../draw_noise.h"
#include "../lanes_avx512.h"

namespace onepfrac {

void draw_noise_avx512(const NoiseJob& job, std::uint64_t key, std::uint8_t* out) {
    draw_noise_image<Avx512Lanes>(job, key, out);
}

}  // namespace onepfrac
