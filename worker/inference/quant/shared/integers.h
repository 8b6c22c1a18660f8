// Symmetric round-to-nearest integers, shared by int8, w8a8, llmint8 and intB-gN.
#pragma once

#include <cstdint>

namespace bitsweep::quant {

// Nearest integer, ties to even, for |value| < 2^22. Two float additions: no call, vectorisable.
inline float round_even(float value) {
    constexpr float magic = 12582912.0f;  // 1.5 * 2^23
    return (value + magic) - magic;
}

float absmax(const float* values, std::int64_t count);

// codes[i] = rint(values[i] * 127 / largest) + 128 for finite values and largest = absmax(values);
// 128 everywhere when it is 0. In double: a float quotient overflows for subnormal rows.
void codes_absmax127(const float* values, std::int64_t count, float largest, std::uint8_t* codes);

}  // namespace bitsweep::quant
