#include "../lanes_avx2.h"

#include "../count_hits.h"

namespace onepfrac {

namespace {

struct CountingLanes : Avx2Lanes {
    static ONEPFRAC_FN void add_ones(std::uint32_t* base, U offsets) {
        add_four(base, _mm256_castsi256_si128(offsets));
        add_four(base, _mm256_extracti128_si256(offsets, 1));
    }

  private:
    static ONEPFRAC_FN void add_two(std::uint32_t* base, long long offsets) {
        ++base[static_cast<std::int32_t>(offsets)];
        ++base[offsets >> 32];
    }
    static ONEPFRAC_FN void add_four(std::uint32_t* base, __m128i offsets) {
        add_two(base, _mm_cvtsi128_si64(offsets));
        add_two(base, _mm_extract_epi64(offsets, 1));
    }
};

}  // namespace

void count_hits_avx2(const RenderJob& job, const System& system, const ScratchLayout& layout, std::byte* scratch,
                     std::uint32_t* counts, std::uint8_t* grades) {
    count_hits<CountingLanes>(job, system, layout, scratch, counts, grades);
}

}  // namespace onepfrac
