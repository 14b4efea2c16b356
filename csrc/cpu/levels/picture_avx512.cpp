#include "../lanes_avx512.h"
#include "../resample_avx2.h"
#include "../take_picture.h"

namespace onepfrac {

void take_picture_avx512(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                         void* out) {
    take_picture<Avx512Lanes, VectorBits<Avx512Lanes>>(film, shot, canvas, arena, interrupt, out);
}

}  // namespace onepfrac
