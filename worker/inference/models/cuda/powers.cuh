// Exponentials as powers of two, which the hardware has: e^x = 2^(log2_e x), so that scores are
// scaled by log2_e once and each weight costs one instruction.
#pragma once

namespace bitsweep::device {

inline constexpr float log2_e = 1.4426950408889634f;

__device__ __forceinline__ float power_of_two(float v) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
    return result;
}

}  // namespace bitsweep::device
