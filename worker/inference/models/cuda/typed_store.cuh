// Values stored in the type that the next layer reads.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::device {

__device__ __forceinline__ void store_typed(const Rows& to, std::int64_t row, std::int64_t k,
                                            float v) {
    const std::int64_t at = row * to.stride + k;
    if (to.type == InputType::f16) {
        static_cast<__half*>(to.data)[at] = __float2half_rn(v);
    } else if (to.type == InputType::f32) {
        static_cast<float*>(to.data)[at] = v;
    } else {
        static_cast<__nv_bfloat16*>(to.data)[at] = __float2bfloat16_rn(v);
    }
}

// `run` neighbours, at once where `run` is 2 or 4: k and the stride are multiples of it then.
template <int run>
__device__ __forceinline__ void store_run(const Rows& to, std::int64_t row, std::int64_t k,
                                          const float (&v)[run]) {
    static_assert(run == 1 || run == 2 || run == 4);
    if constexpr (run == 1) {
        store_typed(to, row, k, v[0]);
    } else {
        using Floats = std::conditional_t<run == 2, float2, float4>;
        using Halves = std::conditional_t<run == 2, std::uint32_t, uint2>;
        const std::int64_t at = row * to.stride + k;
        if (to.type == InputType::f32) {
            *reinterpret_cast<Floats*>(static_cast<float*>(to.data) + at) =
                *reinterpret_cast<const Floats*>(v);
            return;
        }
        alignas(8) std::uint16_t bits[run];
#pragma unroll
        for (int j = 0; j < run; ++j) {
            bits[j] = to.type == InputType::f16 ? __half_as_ushort(__float2half_rn(v[j]))
                                                : __bfloat16_as_ushort(__float2bfloat16_rn(v[j]));
        }
        *reinterpret_cast<Halves*>(static_cast<std::uint16_t*>(to.data) + at) =
            *reinterpret_cast<const Halves*>(bits);
    }
}

}  // namespace bitsweep::device
