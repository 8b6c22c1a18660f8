// 16-bit floats in plain C++: the specification that vector conversions are compared with.
// IEEE 754 binary16 and bfloat16, round to nearest even, overflow to infinity.
#pragma once

#include <bit>
#include <cstdint>

namespace bitsweep::quant {

inline float f16_to_f32(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1fu;
    const std::uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0x1fu) {
        return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    }
    if (exponent == 0) {
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

inline std::uint16_t f32_to_f16(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (magnitude >= 0x477ff000u) {  // 65520, half way between the largest half and 2^16
        return sign | 0x7c00u;
    }
    if (magnitude < 0x38800000u) {  // below 2^-14: the sum leaves the subnormal in the low bits
        const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
        const std::uint32_t steps = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u;
        return static_cast<std::uint16_t>(sign | steps);
    }
    const std::uint32_t odd = (magnitude >> 13) & 1u;
    const std::uint32_t rounded = magnitude - 0x38000000u + 0xfffu + odd;
    return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

inline float round_to_f16(float value) {
    return f16_to_f32(f32_to_f16(value));
}

inline float bf16_to_f32(std::uint16_t half) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

inline std::uint16_t f32_to_bf16(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
    }
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace bitsweep::quant
