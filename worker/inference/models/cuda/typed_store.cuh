// Values stored in the type that the next layer reads.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

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

}  // namespace bitsweep::device
