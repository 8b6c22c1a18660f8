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

// The same, of an output and an input of a matrix.
__device__ __forceinline__ float outlier_weight(const DeviceMatrix& m, std::int64_t row,
                                                int column) {
    if (m.originals != nullptr) {
        const auto* halves = static_cast<const __half*>(m.originals);
        return __half2float(halves[column * m.rows + row]);
    }
    const auto* codes = reinterpret_cast<const std::int8_t*>(device::row_of(m, row));
    return outlier_weight(codes[column], static_cast<const float*>(m.scales)[row]);
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

// What the scale of a row, of x or of w, brings into the factor of a sum.
__device__ __forceinline__ float side_of_factor(Int8Rule rule, float scale) {
    return rule == Int8Rule::w8a8 ? __fdiv_rn(scale, 127.0f) : scale;
}

// `factor`: the product of both sides.
__device__ __forceinline__ float scaled_sum(Int8Rule rule, float sum, float factor, float bias,
                                            float extra) {
    const float scaled = __fmul_rn(sum, factor);
    if (rule == Int8Rule::w8a8) {
        return __fadd_rn(scaled, bias);
    }
    return round_to_half(round_to_half(fmaf(scaled, inverse_127_squared, bias)) + extra);
}

// The sum of the products of what codes mean: `sum` of those of codes, and with zero points what
// they add on both sides, exact in 64 bits (README of llmint8).
template <bool zero_points>
__device__ __forceinline__ float sum_of_meanings(const DeviceMatrix& m, const DeviceTokens& tokens,
                                                 std::int64_t row, std::int64_t o, int sum) {
    if constexpr (zero_points) {
        const auto* w_zeros = static_cast<const std::int32_t*>(m.zeros);
        const auto* w_sums = w_zeros + m.rows;
        const std::int64_t x_zero = tokens.zeros[row];
        const std::int64_t x_meant = tokens.sums[row] + m.in_features * x_zero;
        return __ll2float_rn(sum + x_zero * w_sums[o] + w_zeros[o] * x_meant);
    } else {
        return static_cast<float>(sum);
    }
}

__device__ __forceinline__ float finished(const Product& p, float sum, float x_scale, float w_scale,
                                          float bias, float extra) {
    const float factor =
        __fmul_rn(side_of_factor(p.rule, x_scale), side_of_factor(p.rule, w_scale));
    return scaled_sum(p.rule, sum, factor, bias, extra);
}

__device__ __forceinline__ int dot16(const uint4& w, const uint4& x, int sum) {
    sum = __dp4a(static_cast<int>(w.x), static_cast<int>(x.x), sum);
    sum = __dp4a(static_cast<int>(w.y), static_cast<int>(x.y), sum);
    sum = __dp4a(static_cast<int>(w.z), static_cast<int>(x.z), sum);
    return __dp4a(static_cast<int>(w.w), static_cast<int>(x.w), sum);
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
