// The arithmetic of 8-bit products that their kernels share (tokens.h and llmint8.h specify it).
#pragma once

#include <cuda_fp16.h>

#include "worker/inference/quant/shared/int8_device.h"
#include "worker/inference/quant/shared/unpack.cuh"

namespace bitsweep::quant {

inline constexpr float inverse_127_squared = 6.200012e-05f;  // bitsandbytes' constant of its kernel

__device__ __forceinline__ float input_at(const __half* x, std::int64_t i) {
    return __half2float(x[i]);
}
__device__ __forceinline__ float input_at(const float* x, std::int64_t i) {
    return x[i];
}

__device__ __forceinline__ float round_to_half(float v) {
    return __half2float(__float2half_rn(v));
}

// The weight that meets an outlier activation (llmint8.h).
__device__ __forceinline__ float outlier_weight(int code, float scb) {
    return round_to_half(
        __fmul_rn(__fmul_rn(static_cast<float>(code), scb), 7.874015718698502e-3f));
}

struct Product {
    const void* x;  // half, for the outlier columns
    std::int64_t x_stride;
    int rows;
    float* y;
    std::int64_t y_stride;
    bool accumulate;
    Int8Rule rule;
};

__device__ __forceinline__ float finished(const Product& p, int sum, float x_scale, float w_scale,
                                          float bias, float extra) {
    if (p.rule == Int8Rule::w8a8) {
        const float factor = __fmul_rn(__fdiv_rn(x_scale, 127.0f), __fdiv_rn(w_scale, 127.0f));
        return __fadd_rn(__fmul_rn(static_cast<float>(sum), factor), bias);
    }
    const float scaled = __fmul_rn(static_cast<float>(sum), __fmul_rn(x_scale, w_scale));
    return round_to_half(round_to_half(fmaf(scaled, inverse_127_squared, bias)) + extra);
}

__device__ __forceinline__ int dot16(const uint4& w, const uint4& x, int sum) {
    sum = __dp4a(static_cast<int>(w.x), static_cast<int>(x.x), sum);
    sum = __dp4a(static_cast<int>(w.y), static_cast<int>(x.y), sum);
    sum = __dp4a(static_cast<int>(w.z), static_cast<int>(x.z), sum);
    return __dp4a(static_cast<int>(w.w), static_cast<int>(x.w), sum);
}

__device__ __forceinline__ int sum_over_warp(int value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    }
    return value;
}

inline Product product_of(const DeviceMatrix& m, const DeviceCall& call, Int8Rule rule) {
    return {call.x,
            input_stride(m.in_features),
            static_cast<int>(call.rows),
            call.y,
            call.y_stride,
            call.accumulate,
            rule};
}

inline std::size_t aligned(std::size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

}  // namespace bitsweep::quant
