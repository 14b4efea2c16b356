#include "lanes_avx512.h"
#include "render_image.h"

namespace onepfrac {

void render_image_avx512(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                         std::byte* out) {
    render_image<Avx512Lanes>(job, system, layout, scratch, out);
}

}  // namespace onepfrac
