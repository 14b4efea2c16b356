#include "../lanes_scalar.h"
#include "../take_picture.h"

namespace onepfrac {

void take_picture_scalar(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                         void* out) {
    take_picture<CpuScalarLanes, PlainBits<CpuScalarLanes>>(film, shot, canvas, arena, interrupt, out);
}

}  // namespace onepfrac
