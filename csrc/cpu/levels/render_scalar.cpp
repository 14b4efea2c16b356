#include "../lanes_scalar.h"
#include "../render_image.h"

namespace onepfrac {

void render_image_scalar(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                         std::byte* out) {
    render_image<CpuScalarLanes>(job, system, layout, scratch, out);
}

void expand_image_scalar(const std::uint32_t* canvas, int size, PixelType type, std::byte* out) {
    expand_image<CpuScalarLanes>(canvas, size, type, out);
}

}  // namespace onepfrac
