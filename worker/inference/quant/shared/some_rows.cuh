// The product for 9 to 64 activation rows from packed codes: weights are read once, dequantised in
// registers and multiplied on tensor cores.
//
// A block takes 16 or 32 outputs, its warps take turns along the input, each with its next weights
// on the way. Which input an element of a
// fragment stands for is free as long as both operands agree: lane (g, t) takes step t of rows g
// and g + 8, so that every weight arrives in its own 16-byte chunk and no shuffle is needed.
#pragma once

#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::device {

inline constexpr int some_rows_limit = 64;
inline constexpr int some_warps = 8;
// Outputs from which a block takes two tiles of 16: fewer blocks would not fill the card.
inline constexpr std::int64_t outputs_for_two_tiles = 8192;

// Scaled weights of two rows, inputs k .. k + 7, as the left fragments of two tile products.
template <class Weights>
__device__ __forceinline__ void load_fragments(const DeviceMatrix& m,
                                               const typename Weights::Raw* raw,
                                               const std::int64_t* row, int k, int s,
                                               std::uint32_t (*a)[4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float w[8];
        Weights::eight(m, raw[half], row[half], k, s, w);
        const float scale = Weights::scale(m, row[half], k);
#pragma unroll
        for (int p = 0; p < 2; ++p) {
            a[p][half] = pack_halves(w[4 * p] * scale, w[4 * p + 1] * scale);
            a[p][2 + half] = pack_halves(w[4 * p + 2] * scale, w[4 * p + 3] * scale);
        }
    }
}

template <class Weights, int columns, int m_tiles>
__global__ void __launch_bounds__(some_warps * 32) some_rows_kernel(DeviceMatrix m, FewRows call) {
    constexpr int tiles = columns / 8, some_outputs = 16 * m_tiles;
    __shared__ float sums[some_warps / 2][some_outputs][columns + 1];
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4, t = lane % 4;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * some_outputs;
    // 1. Rows beyond the last repeat it, activation rows likewise; neither is stored.
    std::int64_t row[m_tiles][2];
#pragma unroll
    for (int i = 0; i < 2 * m_tiles; ++i) {
        row[i / 2][i % 2] = min(first + 16 * (i / 2) + 8 * (i % 2) + g, m.rows - 1);
    }
    const __half* x[tiles];
#pragma unroll
    for (int n = 0; n < tiles; ++n) {
        x[n] = static_cast<const __half*>(call.x) + min(8 * n + g, call.rows - 1) * call.x_stride;
    }
    // 2. Sums of this warp's stretches of four steps.
    float sum[m_tiles][tiles][4] = {};
    const int steps = (m.in_features + Weights::step - 1) / Weights::step;
    using Raw = typename Weights::Raw;
    Raw next[m_tiles][2];
    const auto load = [&](int span) {
        const int i = min(4 * span + t, steps - 1);
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
            next[r / 2][r % 2] = Weights::load(m, row[r / 2][r % 2], i);
        }
    };
    load(warp);
#pragma unroll 1
    for (int span = warp; 4 * span < steps; span += some_warps) {
        Raw raw[m_tiles][2];
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
            raw[r / 2][r % 2] = next[r / 2][r % 2];
        }
        load(span + some_warps);
        const int begin = (4 * span + t) * Weights::step;
#pragma unroll
        for (int s = 0; s < Weights::step / 8; ++s) {
            const int k = begin + 8 * s;
            const bool real = k < m.in_features;
            uint4 b[tiles];
#pragma unroll
            for (int n = 0; n < tiles; ++n) {
                b[n] = real ? __ldg(reinterpret_cast<const uint4*>(x[n] + k)) : uint4{0, 0, 0, 0};
            }
#pragma unroll
            for (int tile = 0; tile < m_tiles; ++tile) {
                std::uint32_t a[2][4] = {};
                if (real) {
                    load_fragments<Weights>(m, raw[tile], row[tile], k, s, a);
                }
#pragma unroll
                for (int n = 0; n < tiles; ++n) {
                    multiply_tile(sum[tile][n], a[0], b[n].x, b[n].y);
                    multiply_tile(sum[tile][n], a[1], b[n].z, b[n].w);
                }
            }
        }
    }
    // 3. Warps together: the upper half of them gives to the lower half, and so on.
    for (int givers = some_warps / 2; givers >= 1; givers /= 2) {
        if (warp >= givers && warp < 2 * givers) {
#pragma unroll
            for (int tile = 0; tile < m_tiles; ++tile) {
#pragma unroll
                for (int n = 0; n < tiles; ++n) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        sums[warp - givers][16 * tile + g + 8 * (i / 2)][8 * n + 2 * t + i % 2] =
                            sum[tile][n][i];
                    }
                }
            }
        }
        __syncthreads();
        if (warp < givers) {
#pragma unroll
            for (int tile = 0; tile < m_tiles; ++tile) {
#pragma unroll
                for (int n = 0; n < tiles; ++n) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        sum[tile][n][i] +=
                            sums[warp][16 * tile + g + 8 * (i / 2)][8 * n + 2 * t + i % 2];
                    }
                }
            }
        }
        __syncthreads();
    }
    // 4. Results.
    if (warp != 0) {
        return;
    }
#pragma unroll
    for (int tile = 0; tile < m_tiles; ++tile) {
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::int64_t o = first + 16 * tile + g + 8 * (i / 2);
                const int r = 8 * n + 2 * t + i % 2;
                if (o < m.rows && r < call.rows) {
                    const float bias = m.bias != nullptr ? m.bias[o] : 0.0f;
                    float* y = call.y + r * call.y_stride + o;
                    *y = fmaf(sum[tile][n][i], row_factor(m, call.factor, o), bias) +
                         (call.accumulate ? *y : 0.0f);
                }
            }
        }
    }
}

template <class Weights, int m_tiles>
cudaError_t some_rows(const DeviceMatrix& m, const FewRows& call, cudaStream_t stream) {
    constexpr int outputs = 16 * m_tiles, threads = some_warps * 32;
    const auto blocks = static_cast<unsigned>((m.rows + outputs - 1) / outputs);
    if (call.rows <= 16) {
        some_rows_kernel<Weights, 16, m_tiles><<<blocks, threads, 0, stream>>>(m, call);
    } else if (call.rows <= 32) {
        some_rows_kernel<Weights, 32, m_tiles><<<blocks, threads, 0, stream>>>(m, call);
    } else {
        some_rows_kernel<Weights, 64, m_tiles><<<blocks, threads, 0, stream>>>(m, call);
    }
    return cudaGetLastError();
}

template <class Weights>
cudaError_t some_rows(const DeviceMatrix& m, const FewRows& call, cudaStream_t stream) {
    return m.rows >= outputs_for_two_tiles ? some_rows<Weights, 2>(m, call, stream)
                                           : some_rows<Weights, 1>(m, call, stream);
}

}  // namespace bitsweep::device
