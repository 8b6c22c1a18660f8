// Tiles of 64 queries, 16 a warp, over tiles of keys in shared memory; scores and sums stay in
// registers (FlashAttention-2, arXiv 2307.08691, algorithm 1). Queries and weights are rounded to
// half, sums are float32.
#include <cuda_fp16.h>

#include "worker/inference/models/cuda/prefill_attention.h"
#include "worker/inference/models/cuda/typed_store.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::device {
namespace {

constexpr int warps = 4;
constexpr int tile_queries = 16 * warps;

// Two 8 x 8 tiles of halves, transposed: row addresses from lanes 0..15.
__device__ __forceinline__ void load_transposed(std::uint32_t& b0, std::uint32_t& b1,
                                                const __half* row) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(b0), "=r"(b1)
                 : "r"(address));
}

// Rows [first, first + count) of one head's keys or values, zeros beyond `last` and head_dim.
template <int dim, int keys>
__device__ __forceinline__ void load_rows(__half* to, const __half* from, int first, int last,
                                          int head_dim) {
    constexpr int stride = dim + 8, runs = dim / 8;
    for (int i = threadIdx.x; i < keys * runs; i += warps * 32) {
        const int row = i / runs, d = i % runs * 8;
        const __half* source = from + static_cast<std::int64_t>(first + row) * head_dim + d;
        uint4 run = {0, 0, 0, 0};
        if (first + row < last && d < head_dim) {
            if (head_dim % 8 == 0) {
                run = *reinterpret_cast<const uint4*>(source);
            } else {
                alignas(16) __half parts[8];
                for (int j = 0; j < 8; ++j) {
                    parts[j] = d + j < head_dim ? source[j] : __float2half_rn(0.0f);
                }
                run = *reinterpret_cast<const uint4*>(parts);
            }
        }
        *reinterpret_cast<uint4*>(to + row * stride + d) = run;
    }
}

template <int dim, int keys>
__global__ void __launch_bounds__(warps * 32) prefill_kernel(AttentionCall call) {
    constexpr int stride = dim + 8;
    extern __shared__ __align__(16) unsigned char shared[];
    auto* k_tile = reinterpret_cast<__half*>(shared);
    __half* v_tile = k_tile + keys * stride;
    const int head_dim = static_cast<int>(call.shape.head_dim);
    const int heads = static_cast<int>(call.shape.heads);
    const int kv_heads = static_cast<int>(call.shape.kv_heads);
    const int head = static_cast<int>(blockIdx.y), kv_head = head / (heads / kv_heads);
    const std::int64_t sequence = blockIdx.z;
    const int tokens = static_cast<int>(call.stretch.tokens), position = *call.stretch.position;
    const int window = static_cast<int>(call.shape.window);
    const std::int64_t base = (sequence * kv_heads + kv_head) * call.kv.head_stride;
    const __half* k = static_cast<const __half*>(call.kv.keys) + base;
    const __half* v = static_cast<const __half*>(call.kv.values) + base;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4, t = lane % 4;
    // Heavy tiles first.
    const int first_token = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tile_queries;
    const int token[2] = {first_token + warp * 16 + g, first_token + warp * 16 + g + 8};
    // 1. Queries as fragments, scaled so that exponentials are powers of two.
    const float scale = call.shape.scale * 1.4426950408889634f;
    std::uint32_t q[dim / 16][4];
#pragma unroll
    for (int d = 0; d < dim / 16; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = 16 * d + 2 * t + (i >= 2 ? 8 : 0);
            const std::int64_t row = sequence * tokens + min(token[i % 2], tokens - 1);
            const float* from = call.q + (row * heads + head) * head_dim + at;
            q[d][i] =
                pack_halves(at < head_dim ? from[0] : 0.0f, at + 1 < head_dim ? from[1] : 0.0f);
        }
    }
    float out[dim / 8][4] = {};
    float top[2] = {-1e30f, -1e30f}, total[2] = {0, 0};
    const int last = position + min(tokens, first_token + tile_queries);
    const int oldest = window > 0 ? max(0, position + first_token + 1 - window) : 0;
    for (int first = oldest / keys * keys; first < last; first += keys) {
        __syncthreads();
        load_rows<dim, keys>(k_tile, k, first, last, head_dim);
        load_rows<dim, keys>(v_tile, v, first, last, head_dim);
        __syncthreads();
        // 2. Scores.
        float s[keys / 8][4] = {};
#pragma unroll
        for (int d = 0; d < dim / 16; ++d) {
#pragma unroll
            for (int n = 0; n < keys / 8; ++n) {
                const __half* row = k_tile + (8 * n + g) * stride + 16 * d + 2 * t;
                multiply_tile(s[n], q[d], *reinterpret_cast<const std::uint32_t*>(row),
                              *reinterpret_cast<const std::uint32_t*>(row + 8));
            }
        }
        // 3. Mask, running maximum, weights.
        float best[2] = {top[0], top[1]};
#pragma unroll
        for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int key = first + 8 * n + 2 * t + i % 2, at = position + token[i / 2];
                const bool seen = key <= at && (window == 0 || key > at - window);
                s[n][i] = seen ? s[n][i] * scale : -INFINITY;
                best[i / 2] = fmaxf(best[i / 2], s[n][i]);
            }
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
            best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
            const float keep = exp2f(top[r] - best[r]);
            top[r] = best[r];
            total[r] *= keep;
#pragma unroll
            for (int d = 0; d < dim / 8; ++d) {
                out[d][2 * r] *= keep, out[d][2 * r + 1] *= keep;
            }
        }
#pragma unroll
        for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                s[n][i] = exp2f(s[n][i] - top[i / 2]);
                total[i / 2] += s[n][i];
            }
        }
        // 4. Weighted values: the scores' fragment is the next product's left operand.
#pragma unroll
        for (int n = 0; n < keys / 16; ++n) {
            const float* low = s[2 * n];
            const float* high = s[2 * n + 1];
            const std::uint32_t p[4] = {pack_halves(low[0], low[1]), pack_halves(low[2], low[3]),
                                        pack_halves(high[0], high[1]),
                                        pack_halves(high[2], high[3])};
            const __half* row = v_tile + (16 * n + lane % 16) * stride;
#pragma unroll
            for (int d = 0; d < dim / 8; ++d) {
                std::uint32_t b0 = 0, b1 = 0;
                load_transposed(b0, b1, row + 8 * d);
                multiply_tile(out[d], p, b0, b1);
            }
        }
    }
    // 5. Results.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        total[r] += __shfl_xor_sync(0xffffffffu, total[r], 1);
        total[r] += __shfl_xor_sync(0xffffffffu, total[r], 2);
    }
#pragma unroll
    for (int d = 0; d < dim / 8; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = 8 * d + 2 * t + i % 2;
            if (at < head_dim && token[i / 2] < tokens) {
                store_typed(call.out, sequence * tokens + token[i / 2],
                            static_cast<std::int64_t>(head) * head_dim + at,
                            out[d][i] / total[i / 2]);
            }
        }
    }
}

template <int dim, int keys>
cudaError_t launch(const AttentionCall& call, cudaStream_t stream) {
    constexpr int bytes = 2 * keys * (dim + 8) * static_cast<int>(sizeof(__half));
    if (const cudaError_t error = cudaFuncSetAttribute(
            prefill_kernel<dim, keys>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
        error != cudaSuccess) {
        return error;
    }
    const dim3 grid(static_cast<unsigned>((call.stretch.tokens + tile_queries - 1) / tile_queries),
                    static_cast<unsigned>(call.shape.heads),
                    static_cast<unsigned>(call.stretch.sequences));
    prefill_kernel<dim, keys><<<grid, warps * 32, bytes, stream>>>(call);
    return cudaGetLastError();
}

}  // namespace

cudaError_t attend_prefill(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t dim = call.shape.head_dim;
    return dim <= 32    ? launch<32, 64>(call, stream)
           : dim <= 64  ? launch<64, 64>(call, stream)
           : dim <= 96  ? launch<96, 64>(call, stream)
           : dim <= 128 ? launch<128, 64>(call, stream)
                        : launch<256, 32>(call, stream);
}

}  // namespace bitsweep::device
