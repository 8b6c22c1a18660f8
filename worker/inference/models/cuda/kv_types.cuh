// What a cache may be stored as, as numbers: KvType's types on a device (models/ops.h).
#pragma once

#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>
#include <type_traits>

#include "worker/inference/models/ops.h"

namespace bitsweep::device {

// Codes that mean nothing without the scale of their head and position.
template <class T>
inline constexpr bool needs_scale = std::is_same_v<T, std::int8_t>;

__device__ __forceinline__ float to_float(float v) {
    return v;
}
__device__ __forceinline__ float to_float(__half v) {
    return __half2float(v);
}
__device__ __forceinline__ float to_float(std::int8_t v) {
    return static_cast<float>(v);
}
__device__ __forceinline__ __half to_half(E4m3 v) {  // exact
    return __half(__nv_cvt_fp8_to_halfraw(v.code, __NV_E4M3));
}
__device__ __forceinline__ float to_float(E4m3 v) {
    return __half2float(to_half(v));
}

__device__ __forceinline__ void from_float(float v, float* to) {
    *to = v;
}
__device__ __forceinline__ void from_float(float v, __half* to) {
    *to = __float2half_rn(v);
}
__device__ __forceinline__ void from_float(float v, E4m3* to) {
    to->code = isfinite(v) ? __nv_cvt_float_to_fp8(v, __NV_SATFINITE, __NV_E4M3) : 0x7f;
}

}  // namespace bitsweep::device
