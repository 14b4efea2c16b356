#include "../atom_painter_avx2.h"

namespace onepfrac {

void draw_atom_avx2(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas) {
    draw_atom<Avx2Lanes, VectorPainter>(atom, size, arena, interrupt, canvas);
}

}  // namespace onepfrac
