#include "../lanes_scalar.h"

#include "../count_hits.h"

namespace onepfrac {

namespace {

struct CountingLanes : CpuScalarLanes {
    static ONEPFRAC_FN void add_ones(std::uint32_t* base, U offset) { ++base[static_cast<std::int32_t>(offset)]; }
};

}  // namespace

void count_hits_scalar(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                       std::uint32_t* counts, std::uint8_t* grades) {
    count_hits<CountingLanes>(job, system, layout, scratch, counts, grades);
}

}  // namespace onepfrac
