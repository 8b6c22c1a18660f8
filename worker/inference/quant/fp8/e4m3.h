// 8-bit floats in plain C++, for host and device: sign, 4 bits of exponent (bias 7), 3 of mantissa;
// no infinity, 0x7f and 0xff are NaN, 448 is the largest (OCP "E4M3", torch.float8_e4m3fn).
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define BITSWEEP_E4M3 __host__ __device__ inline
#else
#define BITSWEEP_E4M3 inline
#endif

namespace bitsweep::quant::e4m3 {

inline constexpr float largest = 448.0f;

// The same sign, exponent and mantissa as a half stand for 2^-8 of the value, subnormals included:
// how vector code and cards read a code (NaN excepted, which no weight is).
BITSWEEP_E4M3 std::uint16_t half_of(std::uint8_t code) {
    return static_cast<std::uint16_t>((code & 0x80u) << 8 | (code & 0x7fu) << 7);
}
inline constexpr float half_unit = 256.0f;  // value / half

BITSWEEP_E4M3 float from_bits(std::uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

BITSWEEP_E4M3 std::uint32_t to_bits(float value) {
    std::uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

BITSWEEP_E4M3 float decode(std::uint8_t code) {
    const std::uint32_t sign = (code & 0x80u) << 24, rest = code & 0x7fu;
    if (rest == 0x7fu) {
        return from_bits(sign | 0x7fc00000u);
    }
    if (rest < 8) {  // subnormal: eighths of 2^-6
        const float value = static_cast<float>(rest) * 0x1p-9f;
        return sign != 0 ? -value : value;
    }
    return from_bits(sign | ((rest << 20) + (120u << 23)));
}

// Nearest, ties to even; what rounds beyond 448 is NaN, as torch has it.
BITSWEEP_E4M3 std::uint8_t encode(float value) {
    const std::uint32_t bits = to_bits(value), magnitude = bits & 0x7fffffffu;
    const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
    if (magnitude > 0x43e80000u) {  // above 464, the middle of 448 and the 480 that is missing
        return sign | 0x7fu;
    }
    if (magnitude < 0x3c800000u) {  // below 2^-6: the sum leaves eighths of it in the low bits
        constexpr float middle = 16384.0f;  // whose last bit is 2^-9
        return sign |
               static_cast<std::uint8_t>(to_bits(from_bits(magnitude) + middle) - to_bits(middle));
    }
    const std::uint32_t odd = magnitude >> 20 & 1u;
    const std::uint32_t rounded = magnitude - (120u << 23) + 0x7ffffu + odd;
    return sign | static_cast<std::uint8_t>(rounded >> 20);
}

// The code of value / scale; 0 where there is no scale. The bound matters where a scale is
// subnormal.
BITSWEEP_E4M3 std::uint8_t encode_scaled(float value, float scale) {
    if (!(scale > 0)) {
        return 0;
    }
    const float steps = value / scale;
    return encode(steps > largest ? largest : steps < -largest ? -largest : steps);
}

}  // namespace bitsweep::quant::e4m3
