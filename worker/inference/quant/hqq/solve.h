// HQQ's choice of one group's zero (README.md here). What each weight adds stands here once for
// both devices, from operations that IEEE 754 rounds in one way only, and sums are taken in the
// order of a warp: codes and zeros of CPU and card are equal bit for bit.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define BITSWEEP_HQQ __host__ __device__ inline
#else
#define BITSWEEP_HQQ inline
#endif

namespace bitsweep::quant::hqq {

inline constexpr int rounds = 20;  // at most
inline constexpr float first_beta = 10.0f;
inline constexpr float beta_growth = 1.01f;
inline constexpr int lanes = 32;  // input i belongs to sum i mod 32

// Below this error the shrink operator gives 0 for every beta up to 12.3, that of the last round:
// |x| <= beta^(-1 / 1.3).
inline constexpr float never_shrunk = 0.14f;

// |x|^(p - 1) with p = 0.7, by the binary digits of 0.3: roots and products round alike everywhere.
BITSWEEP_HQQ double power_minus_0_3(double x) {
    constexpr std::uint32_t digits = 0x4ccccc;  // 0.3 * 2^24
    double root = x, power = 1;
    for (int k = 23; k >= 0; --k) {
        root = std::sqrt(root);
        power = (digits >> k & 1u) != 0 ? power * root : power;
    }
    return 1 / power;
}

// sign(x) max(|x| - |x|^(p - 1) / beta, 0)
BITSWEEP_HQQ float shrunk(float x, float beta) {
    const float size = std::fabs(x);
    if (size <= never_shrunk) {
        return 0;
    }
    const auto less = static_cast<float>(power_minus_0_3(size)) / beta;
    const float left = size > less ? size - less : 0.0f;
    return x < 0 ? -left : left;
}

// Nearest integer, ties to even, for |value| < 2^22.
BITSWEEP_HQQ float nearest(float value) {
    constexpr float magic = 12582912.0f;  // 1.5 * 2^23
    return (value + magic) - magic;
}

// The code 0..levels of a weight that is `steps` steps from 0; `zero` is the code of 0.
BITSWEEP_HQQ float code_of(float steps, float zero, float levels) {
    const float code = nearest(steps + zero);
    return code < 0 ? 0 : code > levels ? levels : code;
}

#ifndef __CUDACC__

// One group as the solver left it.
struct Solution {
    std::uint16_t scale = 0;  // halves, as they are stored
    std::uint16_t zero = 0;   // steps from the middle code 2^(B-1)
    float error = 0;          // mean |w - w'|
    int rounds = 0;           // whose zero was better than all before
};

// Chooses scale and zero and writes `count` codes. `errors` [rounds]: those of every round that was
// better, for tests; or null.
Solution solve(const float* values, std::int64_t count, int bits, std::uint8_t* codes,
               float* errors = nullptr);

#endif

}  // namespace bitsweep::quant::hqq
