#include "../lanes_avx512.h"

#include "../add_four_avx.h"
#include "../count_hits.h"

namespace onepfrac {

namespace {

struct CountingLanes : Avx512Lanes {
    static ONEPFRAC_FN void add_ones(std::uint32_t* base, U offsets) {
        add_four(base, _mm512_castsi512_si128(offsets));
        add_four(base, _mm512_extracti32x4_epi32(offsets, 1));
        add_four(base, _mm512_extracti32x4_epi32(offsets, 2));
        add_four(base, _mm512_extracti32x4_epi32(offsets, 3));
    }
};

}  // namespace

void count_hits_avx512(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                       std::uint32_t* counts, std::uint8_t* grades) {
    count_hits<CountingLanes>(job, system, layout, scratch, counts, grades);
}

}  // namespace onepfrac
