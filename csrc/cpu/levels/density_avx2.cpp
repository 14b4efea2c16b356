#include "../lanes_avx2.h"

#include "../add_four_avx.h"
#include "../count_hits.h"

namespace onepfrac {

namespace {

struct CountingLanes : Avx2Lanes {
    static ONEPFRAC_FN void add_ones(std::uint32_t* base, U offsets) {
        add_four(base, _mm256_castsi256_si128(offsets));
        add_four(base, _mm256_extracti128_si256(offsets, 1));
    }
};

}  // namespace

void count_hits_avx2(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                     std::uint32_t* counts, std::uint8_t* grades) {
    count_hits<CountingLanes>(job, system, layout, scratch, counts, grades);
}

}  // namespace onepfrac
