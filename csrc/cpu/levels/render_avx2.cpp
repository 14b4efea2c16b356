#include "../lanes_avx2.h"
#include "../render_image.h"

namespace onepfrac {

void render_image_avx2(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                       std::byte* out) {
    render_image<Avx2Lanes>(job, system, layout, scratch, out);
}

void expand_image_avx2(const std::uint32_t* canvas, int size, PixelType type, std::byte* out) {
    expand_image<Avx2Lanes>(canvas, size, type, out);
}

}  // namespace onepfrac
