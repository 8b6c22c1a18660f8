#include "worker/inference/quant/shared/int8_device.h"

#include <algorithm>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/shared/dequantise.cuh"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/int8_math.cuh"

namespace bitsweep::quant {
namespace {

constexpr int few_outputs = 2;

// A warp takes two rows of the weight and all activation rows.
template <int m_rows, bool zero_points>
__global__ void __launch_bounds__(device::few_warps * 32)
    few_kernel(DeviceMatrix m, Product p, DeviceTokens tokens) {
    const int lane = threadIdx.x % 32;
    const std::int64_t first =
        (static_cast<std::int64_t>(blockIdx.x) * device::few_warps + threadIdx.x / 32) *
        few_outputs;
    if (first >= m.rows) {
        return;
    }
    // 1. Exact sums.
    const uint4* w[few_outputs];
    const uint4* x[m_rows];
#pragma unroll
    for (int o = 0; o < few_outputs; ++o) {
        w[o] = device::row_of(m, min(first + o, m.rows - 1));
    }
#pragma unroll
    for (int r = 0; r < m_rows; ++r) {
        x[r] = reinterpret_cast<const uint4*>(tokens.codes) +
               static_cast<std::int64_t>(min(r, p.rows - 1)) * m.row_chunks;
    }
    int sum[few_outputs][m_rows] = {};
    float extra[few_outputs][m_rows] = {};
#pragma unroll 2
    for (int i = lane; i < m.row_chunks; i += 32) {
        uint4 chunk[few_outputs];
#pragma unroll
        for (int o = 0; o < few_outputs; ++o) {
            chunk[o] = __ldg(w[o] + i);
        }
#pragma unroll
        for (int r = 0; r < m_rows; ++r) {
            const uint4 v = __ldg(x[r] + i);
#pragma unroll
            for (int o = 0; o < few_outputs; ++o) {
                sum[o][r] = dot16(chunk[o], v, sum[o][r]);
            }
        }
    }
    // 2. Outlier columns, a lane each; the row has just come through the second-level cache.
    const auto* halves = static_cast<const __half*>(p.x);
    const int columns = m.threshold > 0 ? *tokens.count : 0;
    for (int i = lane; i < columns; i += 32) {
        const int column = tokens.columns[i];
#pragma unroll
        for (int o = 0; o < few_outputs; ++o) {
            const std::int64_t row = min(first + o, m.rows - 1);
            const float weight = outlier_weight(m, row, column);
#pragma unroll
            for (int r = 0; r < m_rows; ++r) {
                const float v = __half2float(halves[min(r, p.rows - 1) * p.x_stride + column]);
                extra[o][r] = fmaf(weight, v, extra[o][r]);
            }
        }
    }
    // 3. Results.
#pragma unroll
    for (int o = 0; o < few_outputs; ++o) {
        const std::int64_t row = min(first + o, m.rows - 1);
        const float scale = static_cast<const float*>(m.scales)[row];
        const float bias = m.bias != nullptr ? m.bias[row] : 0.0f;
#pragma unroll
        for (int r = 0; r < m_rows; ++r) {
            const int total = device::sum_over_warp(sum[o][r]);
            const float beside = columns > 0 ? device::sum_over_warp(extra[o][r]) : 0.0f;
            if (lane == 0 && first + o < m.rows && r < p.rows) {
                float* y = p.y + r * p.y_stride + row;
                const float meant = sum_of_meanings<zero_points>(m, tokens, r, row, total);
                const float v = finished(p, meant, tokens.scale[r], scale, bias, beside);
                *y = v + (p.accumulate ? *y : 0.0f);
            }
        }
    }
}

template <bool zero_points>
void launch_few(const DeviceMatrix& m, const Product& product, const DeviceTokens& tokens,
                cudaStream_t stream) {
    constexpr std::int64_t per_block = device::few_warps * few_outputs;
    const auto blocks = static_cast<unsigned>((m.rows + per_block - 1) / per_block);
    constexpr int threads = device::few_warps * 32;
    if (product.rows == 1) {
        few_kernel<1, zero_points><<<blocks, threads, 0, stream>>>(m, product, tokens);
    } else if (product.rows <= 4) {
        few_kernel<4, zero_points><<<blocks, threads, 0, stream>>>(m, product, tokens);
    } else {
        few_kernel<8, zero_points><<<blocks, threads, 0, stream>>>(m, product, tokens);
    }
}

// A code with its zero point.
struct UnpackZeroPoints : device::Unpack<decode::Codes::i8_i8> {
    __device__ static void eight(const DeviceMatrix& m, const Raw& raw, std::int64_t row, int k,
                                 int s, float* w) {
        Unpack::eight(m, raw, row, k, s, w);
        const auto zero = static_cast<float>(static_cast<const std::int32_t*>(m.zeros)[row]);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            w[j] += zero;
        }
    }
};

}  // namespace

Status int8_few_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                     Int8Rule rule) {
    const Product product = product_of(m, call, rule);
    const auto launch = m.zeros != nullptr ? launch_few<true> : launch_few<false>;
    launch(m, product, tokens, call.backend.stream());
    return cuda_status(cudaGetLastError(), "an 8-bit product");
}

Status look_up_int8(const DeviceMatrix& m, Int8Rule rule, const std::int32_t* ids,
                    std::int64_t first, std::int64_t count, float* y, std::int64_t stride,
                    cudaStream_t stream) {
    const auto factor =
        rule == Int8Rule::w8a8 ? device::RowFactor::by_127 : device::RowFactor::by_inverse;
    const device::DequantiseRows rows{ids, first, count, stride, factor};
    using Plain = device::Unpack<decode::Codes::i8_i8>;
    return cuda_status(m.zeros != nullptr ? device::dequantise<UnpackZeroPoints>(m, rows, y, stream)
                                          : device::dequantise<Plain>(m, rows, y, stream),
                       "dequantising an 8-bit weight");
}

}  // namespace bitsweep::quant
