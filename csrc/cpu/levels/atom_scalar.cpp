#include "../draw_atom.h"
#include "../lanes_scalar.h"

namespace onepfrac {

void draw_atom_scalar(const Atom& atom, int size, Arena& arena, Interrupt& interrupt, std::uint8_t* canvas) {
    draw_atom<CpuScalarLanes, PlainPainter<CpuScalarLanes>>(atom, size, arena, interrupt, canvas);
}

}  // namespace onepfrac
