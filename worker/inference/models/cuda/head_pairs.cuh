// A head's elements on their way from the product of q, k and v to attention: their order, rotation
// and type.
#pragma once

#include <cstdint>

#include "worker/inference/models/cuda/kv_types.cuh"

namespace bitsweep::device {

// Elements i and i + head_dim / 2 of a head, rotated where there are angles.
struct HeadPairs {
    const float* from;
    int half;
    bool paired;
    const float *cos, *sin;  // of the position; null: none

    __device__ __forceinline__ float2 at(int i) const {
        const float a = paired ? from[2 * i] : from[i];
        const float b = paired ? from[2 * i + 1] : from[i + half];
        if (cos == nullptr) {
            return {a, b};
        }
        return {a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]};
    }

    // at(i) and at(i + 1): first elements, then second ones. i, half and the head's place are even.
    __device__ __forceinline__ float4 two_at(int i) const {
        float2 a, b;
        if (paired) {
            const float4 both = *reinterpret_cast<const float4*>(from + 2 * i);
            a = {both.x, both.z}, b = {both.y, both.w};
        } else {
            a = *reinterpret_cast<const float2*>(from + i);
            b = *reinterpret_cast<const float2*>(from + i + half);
        }
        if (cos == nullptr) {
            return {a.x, a.y, b.x, b.y};
        }
        const float2 c = *reinterpret_cast<const float2*>(cos + i);
        const float2 s = *reinterpret_cast<const float2*>(sin + i);
        return {a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y, b.x * c.x + a.x * s.x,
                b.y * c.y + a.y * s.y};
    }
};

__device__ __forceinline__ void store_two(float a, float b, float* to) {
    *reinterpret_cast<float2*>(to) = {a, b};
}
template <class T>
__device__ __forceinline__ void store_two(float a, float b, T* to) {
    alignas(2 * sizeof(T)) T both[2];
    from_float(a, both), from_float(b, both + 1);
    if constexpr (sizeof(T) == 2) {
        *reinterpret_cast<std::uint32_t*>(to) = *reinterpret_cast<const std::uint32_t*>(both);
    } else {
        *reinterpret_cast<std::uint16_t*>(to) = *reinterpret_cast<const std::uint16_t*>(both);
    }
}

}  // namespace bitsweep::device
