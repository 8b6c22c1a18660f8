// Rows of a packed weight as floats, halves or bfloat16: for dense products, look-ups and tests.
#pragma once

#include "worker/inference/quant/shared/unpack.cuh"

namespace bitsweep::device {

struct DequantiseRows {
    const std::int32_t* ids;  // [count] rows, or null: first, first + 1, ...
    std::int64_t first;
    std::int64_t count;
    std::int64_t stride;  // elements between rows of y; those from in_features on become 0
    RowFactor factor;
};

__device__ __forceinline__ void store_as(float v, float* to) {
    *to = v;
}
__device__ __forceinline__ void store_as(float v, __half* to) {
    *to = __float2half_rn(v);
}
__device__ __forceinline__ void store_as(float v, __nv_bfloat16* to) {
    *to = __float2bfloat16_rn(v);
}

// Eight neighbours, aligned to 16 bytes.
__device__ __forceinline__ void store_eight(const float* v, float* to) {
    reinterpret_cast<float4*>(to)[0] = {v[0], v[1], v[2], v[3]};
    reinterpret_cast<float4*>(to)[1] = {v[4], v[5], v[6], v[7]};
}
template <class Y>
__device__ __forceinline__ void store_eight(const float* v, Y* to) {
    alignas(16) Y packed[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
        store_as(v[j], packed + j);
    }
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(packed);
}

// A thread takes one step of a row.
template <class Weights, class Y>
__global__ void dequantise_kernel(DeviceMatrix m, DequantiseRows rows, Y* y) {
    const std::int64_t steps = (rows.stride + Weights::step - 1) / Weights::step;
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= steps * rows.count) {
        return;
    }
    const std::int64_t index = at / steps;
    const int i = static_cast<int>(at % steps);
    const std::int64_t row = rows.ids != nullptr ? rows.ids[index] : rows.first + index;
    const int begin = i * Weights::step;
    Y* to = y + index * rows.stride;
    const bool inside = begin < m.in_features;
    const typename Weights::Raw raw = inside ? Weights::load(m, row, i) : typename Weights::Raw{};
    const float factor = row_factor(m, rows.factor, row);
    const bool aligned = rows.stride % 8 == 0;
#pragma unroll
    for (int s = 0; s < Weights::step / 8; ++s) {
        const int k = begin + 8 * s;
        float w[8] = {};
        if (k < m.in_features) {
            Weights::eight(m, raw, row, k, s, w);
            const float scale = rows.factor == RowFactor::none ? Weights::scale(m, row, k) : factor;
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                w[j] = k + j < m.in_features ? __fmul_rn(w[j], scale) : 0.0f;
            }
        }
        if (aligned && k < rows.stride) {
            store_eight(w, to + k);
        } else {
            for (int j = 0; j < 8 && k + j < rows.stride; ++j) {
                store_as(w[j], to + k + j);
            }
        }
    }
}

template <class Weights, class Y>
cudaError_t dequantise(const DeviceMatrix& m, const DequantiseRows& rows, Y* y,
                       cudaStream_t stream) {
    const std::int64_t steps = (rows.stride + Weights::step - 1) / Weights::step;
    const auto blocks = static_cast<unsigned>((steps * rows.count + 255) / 256);
    if (blocks > 0) {
        dequantise_kernel<Weights><<<blocks, 256, 0, stream>>>(m, rows, y);
    }
    return cudaGetLastError();
}

}  // namespace bitsweep::device
