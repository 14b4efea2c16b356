#include "../lanes_avx2.h"
#include "../resample_avx2.h"
#include "../take_picture.h"

namespace onepfrac {

void take_picture_avx2(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                       void* out) {
    take_picture<Avx2Lanes, VectorBits<Avx2Lanes>>(film, shot, canvas, arena, interrupt, out);
}

}  // namespace onepfrac
