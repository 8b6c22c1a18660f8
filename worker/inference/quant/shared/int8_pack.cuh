// Rows as 8-bit codes with one scale, on a CUDA device: the arithmetic of shared/integers.cpp and
// of quantize_token, a block a row.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/shared/device_layer.h"

namespace bitsweep::device {

inline constexpr int row_threads = 256;

// The largest of every thread's value, for all of them. `scratch` [blockDim.x / 32].
__device__ __forceinline__ float block_max(float value, float* scratch) {
    value = max_over_warp(value);
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float best = scratch[0];
    for (unsigned i = 1; i < blockDim.x / 32; ++i) {
        best = fmaxf(best, scratch[i]);
    }
    __syncthreads();
    return best;
}

// rint(w * 127 / absmax) in double, scale = absmax or absmax / 127 (int8, w8a8).
static __global__ void absmax127_kernel(quant::PackChunk chunk, bool divide, float* scales) {
    __shared__ float scratch[row_threads / 32];
    const std::int64_t row = blockIdx.x;
    const float* values = chunk.values + row * chunk.in;
    float largest = 0;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
        largest = fmaxf(largest, fabsf(values[k]));
    }
    largest = block_max(largest, scratch);
    const double factor = largest > 0 ? 127.0 / static_cast<double>(largest) : 0.0;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
        const auto scaled = static_cast<float>(static_cast<double>(values[k]) * factor);
        chunk.codes[row * chunk.in + k] =
            static_cast<std::uint8_t>(static_cast<std::int8_t>(__float2int_rn(scaled)));
    }
    if (threadIdx.x == 0) {
        scales[chunk.first_row + row] = divide ? __fdiv_rn(largest, 127.0f) : largest;
    }
}

// absmax127_kernel where the absmax of every row is given and stands in `scales` already.
static __global__ void given127_kernel(quant::PackChunk chunk, const float* scales) {
    const std::int64_t row = blockIdx.x;
    const float largest = scales[chunk.first_row + row];
    const double factor = largest > 0 ? 127.0 / static_cast<double>(largest) : 0.0;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
        const std::int64_t at = row * chunk.in + k;
        const auto scaled = static_cast<float>(static_cast<double>(chunk.values[at]) * factor);
        chunk.codes[at] =
            static_cast<std::uint8_t>(static_cast<std::int8_t>(__float2int_rn(scaled)));
    }
}

// rint(w * (127 / absmax)) in float, scale = absmax (bitsandbytes).
static __global__ void vectorwise_kernel(quant::PackChunk chunk, float* scales) {
    __shared__ float scratch[row_threads / 32];
    const std::int64_t row = blockIdx.x;
    const float* values = chunk.values + row * chunk.in;
    float largest = 0;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
        largest = fmaxf(largest, fabsf(values[k]));
    }
    largest = block_max(largest, scratch);
    float factor = largest > 0 ? __fdiv_rn(127.0f, largest) : 0.0f;
    factor = isfinite(factor) ? factor : 0.0f;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
        chunk.codes[row * chunk.in + k] = static_cast<std::uint8_t>(
            static_cast<std::int8_t>(__float2int_rn(__fmul_rn(values[k], factor))));
    }
    if (threadIdx.x == 0) {
        scales[chunk.first_row + row] = largest;
    }
}

}  // namespace bitsweep::device
