#include "lanes_avx2.h"
#include "render_image.h"

namespace onepfrac {

void render_image_avx2(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                       std::byte* out) {
    render_image<Avx2Lanes>(job, system, layout, scratch, out);
}

}  // namespace onepfrac
