// The product for up to eight activation rows: every packed weight is read once.
//
// A warp takes `outputs` rows of the weight and all activation rows; a lane multiplies the steps
// lane, lane + 32, ... of a row. Sums are float32.
#pragma once

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/shared/unpack.cuh"

namespace bitsweep::device {

inline constexpr int few_rows_limit = 8;
inline constexpr int few_warps = 4;

template <class X>
__device__ __forceinline__ void load_eight(const X* from, float* x) {
    if constexpr (sizeof(X) == 4) {
        const auto* quads = reinterpret_cast<const float4*>(from);
        const float4 a = quads[0], b = quads[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
        x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else {
        const uint4 raw = *reinterpret_cast<const uint4*>(from);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const std::uint32_t word = word_of(raw, j);
            if constexpr (std::is_same_v<X, __half>) {
                const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&word));
                x[2 * j] = pair.x, x[2 * j + 1] = pair.y;
            } else {
                x[2 * j] = __uint_as_float(word << 16);
                x[2 * j + 1] = __uint_as_float(word & 0xffff0000u);
            }
        }
    }
}

struct FewRows {
    const void* x;
    std::int64_t x_stride;
    int rows;
    float* y;
    std::int64_t y_stride;
    bool accumulate;
    RowFactor factor;
};

template <class Weights, class X, int m_rows, int outputs>
__global__ void __launch_bounds__(few_warps * 32) few_rows_kernel(DeviceMatrix m, FewRows call) {
    const int lane = threadIdx.x % 32;
    const std::int64_t first =
        (static_cast<std::int64_t>(blockIdx.x) * few_warps + threadIdx.x / 32) * outputs;
    if (first >= m.rows) {
        return;
    }
    // 1. Rows beyond the last repeat it, activation rows likewise; neither is stored.
    std::int64_t row[outputs];
#pragma unroll
    for (int o = 0; o < outputs; ++o) {
        row[o] = min(first + o, m.rows - 1);
    }
    const X* x[m_rows];
#pragma unroll
    for (int r = 0; r < m_rows; ++r) {
        x[r] = static_cast<const X*>(call.x) + min(r, call.rows - 1) * call.x_stride;
    }
    // 2. Sums.
    float sum[outputs][m_rows] = {};
    const int steps = (m.in_features + Weights::step - 1) / Weights::step;
    for (int i = lane; i < steps; i += 32) {
        typename Weights::Raw raw[outputs];
#pragma unroll
        for (int o = 0; o < outputs; ++o) {
            raw[o] = Weights::load(m, row[o], i);
        }
#pragma unroll
        for (int s = 0; s < Weights::step / 8; ++s) {
            const int k = i * Weights::step + 8 * s;
            if (k >= m.in_features) {
                break;
            }
            float w[outputs][8], scale[outputs];
#pragma unroll
            for (int o = 0; o < outputs; ++o) {
                Weights::eight(m, raw[o], row[o], k, s, w[o]);
                scale[o] = Weights::scale(m, row[o], k);
            }
#pragma unroll
            for (int r = 0; r < m_rows; ++r) {
                float v[8];
                load_eight(x[r] + k, v);
#pragma unroll
                for (int o = 0; o < outputs; ++o) {
                    float part = w[o][0] * v[0];
#pragma unroll
                    for (int j = 1; j < 8; ++j) {
                        part = fmaf(w[o][j], v[j], part);
                    }
                    sum[o][r] = fmaf(part, scale[o], sum[o][r]);
                }
            }
        }
    }
    // 3. Results.
#pragma unroll
    for (int o = 0; o < outputs; ++o) {
        const float factor = row_factor(m, call.factor, row[o]);
        const float bias = m.bias != nullptr ? m.bias[row[o]] : 0.0f;
#pragma unroll
        for (int r = 0; r < m_rows; ++r) {
            const float total = sum_over_warp(sum[o][r]);
            if (lane == 0 && first + o < m.rows && r < call.rows) {
                float* y = call.y + r * call.y_stride + first + o;
                *y = fmaf(total, factor, bias) + (call.accumulate ? *y : 0.0f);
            }
        }
    }
}

template <class Weights, class X>
cudaError_t few_rows(const DeviceMatrix& m, const FewRows& call, cudaStream_t stream) {
    const auto launch = [&](auto kernel, int outputs) {
        const std::int64_t per_block = few_warps * outputs;
        const auto blocks = static_cast<unsigned>((m.rows + per_block - 1) / per_block);
        kernel<<<blocks, few_warps * 32, 0, stream>>>(m, call);
        return cudaGetLastError();
    };
    if (call.rows == 1) {
        return launch(few_rows_kernel<Weights, X, 1, 2>, 2);
    }
    if (call.rows == 2) {
        return launch(few_rows_kernel<Weights, X, 2, 2>, 2);
    }
    return call.rows <= 4 ? launch(few_rows_kernel<Weights, X, 4, 2>, 2)
                          : launch(few_rows_kernel<Weights, X, 8, 2>, 2);
}

}  // namespace bitsweep::device
