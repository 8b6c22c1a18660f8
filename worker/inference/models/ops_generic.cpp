// The readable kernels: plain C++ over four lanes, half precision converted bit by bit.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "worker/inference/models/kv_codes.h"
#include "worker/inference/models/ops.h"

namespace bitsweep {
namespace {

constexpr int lanes = 4;
constexpr int vector_registers = 12;

typedef float Vector __attribute__((vector_size(16)));
typedef std::int32_t IntVector __attribute__((vector_size(16)));

// IEEE half to float: normal numbers shift, subnormal ones are exact in float.
float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1fu;
    const std::uint32_t fraction = half & 0x3ffu;
    std::uint32_t bits = 0;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        std::memcpy(&bits, &magnitude, sizeof bits);
    } else if (exponent == 31) {
        bits = 0x7f800000u | (fraction << 13);
    } else {
        bits = ((exponent + 112) << 23) | (fraction << 13);
    }
    bits |= sign;
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Float to IEEE half, nearest even; above 65520 infinity.
std::uint16_t float_to_half(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) {
        return static_cast<std::uint16_t>(sign | 0x7e00u);
    }
    if (bits >= 0x477ff000u) {
        return static_cast<std::uint16_t>(sign | 0x7c00u);
    }
    if (bits < 0x38800000u) {  // below 2^-14: a multiple of 2^-24
        float magnitude = 0;
        std::memcpy(&magnitude, &bits, sizeof magnitude);
        return static_cast<std::uint16_t>(
            sign | static_cast<std::uint32_t>(std::nearbyint(magnitude * 0x1p24f)));
    }
    const std::uint32_t rounded = bits + 0xfffu + ((bits >> 13) & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

Vector load(const float* p) {
    return Vector{p[0], p[1], p[2], p[3]};
}
Vector load(const std::uint16_t* p) {
    return Vector{half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]),
                  half_to_float(p[3])};
}
Vector load(const std::int8_t* p) {
    return Vector{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]),
                  static_cast<float>(p[3])};
}
Vector load(const E4m3* p) {
    return Vector{quant::e4m3::decode(p[0].code), quant::e4m3::decode(p[1].code),
                  quant::e4m3::decode(p[2].code), quant::e4m3::decode(p[3].code)};
}
void store(float* p, Vector v) {
    std::memcpy(p, &v, sizeof v);
}
float to_float(float value) {
    return value;
}
float to_float(std::uint16_t value) {
    return half_to_float(value);
}
float to_float(std::int8_t value) {
    return value;
}
float to_float(E4m3 value) {
    return quant::e4m3::decode(value.code);
}
void convert_to(float value, E4m3* to) {
    to->code = e4m3_of_cache(value);
}
void convert_to(float value, float* to) {
    *to = value;
}
void convert_to(float value, std::uint16_t* to) {
    *to = float_to_half(value);
}

#include "worker/inference/models/ops_kernels.inc"

}  // namespace

const Ops* ops_generic() {
    return &kernels;
}

}  // namespace bitsweep
