// 16-bit floats to float32, exactly. Sources need no alignment.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace bitsweep {

// IEEE binary16. A signalling NaN becomes the quiet one, as hardware does it.
inline float f16_value(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t rest = half & 0x7FFFu;
    if (rest >= 0x7C00u) {
        const std::uint32_t quiet = rest > 0x7C00u ? 0x400000u : 0u;
        return std::bit_cast<float>(sign | 0x7F800000u | ((rest & 0x3FFu) << 13) | quiet);
    }
    if (rest >= 0x400u) {
        return std::bit_cast<float>(sign | ((rest << 13) + ((127u - 15u) << 23)));
    }
    const float magnitude = static_cast<float>(rest) * 0x1p-24f;  // subnormal: exact in float32
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

// dst[count]; src holds count little-endian values.
void f16_to_f32(const void* src, float* dst, std::size_t count);
void bf16_to_f32(const void* src, float* dst, std::size_t count);

// The readable loop that f16_to_f32 is checked against, and what runs where the CPU has no F16C.
void f16_to_f32_portable(const void* src, float* dst, std::size_t count);

}  // namespace bitsweep
