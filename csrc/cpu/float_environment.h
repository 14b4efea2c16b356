// IEEE arithmetic while this object lives: rounding to nearest and no flushing of denormals, whatever the thread had
// (torch.set_flush_denormal and libraries built with -ffast-math change it).
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace onepfrac {

class IeeeArithmetic {
  public:
#if defined(__x86_64__)
    IeeeArithmetic() : saved_(_mm_getcsr()) { _mm_setcsr(0x1F80); }
    ~IeeeArithmetic() { _mm_setcsr(saved_); }

  private:
    unsigned int saved_;
#elif defined(__aarch64__)
    IeeeArithmetic() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" ::"r"(std::uint64_t{0}));
    }
    ~IeeeArithmetic() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

  private:
    std::uint64_t saved_;
#else
    IeeeArithmetic() = default;
#endif

  public:
    IeeeArithmetic(const IeeeArithmetic&) = delete;
    IeeeArithmetic& operator=(const IeeeArithmetic&) = delete;
};

}  // namespace onepfrac
