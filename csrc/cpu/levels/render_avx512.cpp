#include "../lanes_avx512.h"
#include "../render_image.h"

namespace onepfrac {

void render_image_avx512(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                         std::byte* out) {
    render_image<Avx512Lanes>(job, system, layout, scratch, out);
}

void expand_image_avx512(const std::uint32_t* canvas, int size, PixelType type, std::byte* out) {
    expand_image<Avx512Lanes>(canvas, size, type, out);
}

}  // namespace onepfrac
