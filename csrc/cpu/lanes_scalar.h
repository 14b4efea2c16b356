// One lane, no vector unit: what the CPU renderer needs beyond ScalarLanes (portable.h). Runs on every processor and is
// the path on Arm.
#pragma once

#include <cstring>

#include "../portable.h"

namespace onepfrac {

struct CpuScalarLanes : ScalarLanes {
    static ONEPFRAC_FN F select(M mask, F yes, F no) { return mask ? yes : no; }
    static ONEPFRAC_FN U add_mask(U count, M mask) { return count + (mask ? 1U : 0U); }
    static ONEPFRAC_FN F subtract(F a, F b) { return a - b; }
    static ONEPFRAC_FN F min(F a, F b) { return a < b ? a : b; }
    static ONEPFRAC_FN F max(F a, F b) { return a > b ? a : b; }
    static ONEPFRAC_FN U truncate(F a) { return static_cast<U>(static_cast<int>(a)); }
    static ONEPFRAC_FN F load(const float* p) { return *p; }
    static ONEPFRAC_FN void store(float* p, F a) { *p = a; }
    static ONEPFRAC_FN void store_u(std::uint32_t* p, U a) { *p = a; }
    static ONEPFRAC_FN void store_blocks(std::uint32_t* p, const U (&words)[4]) {
        for (int q = 0; q < 4; ++q) p[q] = words[q];
    }
    static ONEPFRAC_FN float first(F a) { return a; }
    // NOLINTNEXTLINE(misc-redundant-expression): infinity less infinity is no number
    static ONEPFRAC_FN M finite(F x, F y) { return x - x + (y - y) == 0.0F; }
    static ONEPFRAC_FN M mask_and(M a, M b) { return a && b; }
    static ONEPFRAC_FN M mask_all() { return true; }
    static ONEPFRAC_FN bool all(M mask) { return mask; }
    static ONEPFRAC_FN M from_lane(std::uint32_t first_off) { return first_off > 0; }
    static ONEPFRAC_FN U cell(U x, U y, int stride) {
        return static_cast<U>(static_cast<int>(y) * stride + static_cast<int>(x));
    }
    static ONEPFRAC_FN void store_bytes(std::uint8_t* base, U offset) { base[static_cast<std::int32_t>(offset)] = 255; }

    struct Table2 {
        float first_value, second_value;
        explicit ONEPFRAC_FN Table2(const float* v) : first_value(v[0]), second_value(v[1]) {}
        ONEPFRAC_FN F at(M first) const { return first ? first_value : second_value; }
    };
    struct Table16 {
        const float* values;
        explicit ONEPFRAC_FN Table16(const float* p) : values(p) {}
        ONEPFRAC_FN F at(U index) const { return values[index]; }
    };
    using Table8 = Table16;

    static ONEPFRAC_FN std::uint32_t bits_of_bytes(const std::uint8_t* bytes) {
        std::uint32_t word = 0;
        for (int i = 0; i < 32; ++i) word |= (bytes[i] != 0 ? 1U : 0U) << i;
        return word;
    }
    static ONEPFRAC_FN void bytes_of_bits(std::uint32_t word, std::uint8_t value, std::uint8_t* bytes) {
        for (int i = 0; i < 32; ++i) bytes[i] = ((word >> i) & 1U) != 0U ? value : std::uint8_t{0};
    }
};

}  // namespace onepfrac
