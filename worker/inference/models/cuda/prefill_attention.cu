// Tiles of 64 queries, 16 a warp, over tiles of keys in shared memory; scores and sums stay in
// registers (FlashAttention-2, arXiv 2307.08691, algorithm 1). Queries and weights are rounded to
// half, sums are float32; an 8-bit cache becomes halves on its way into shared memory.
//
// Ladder (NVIDIA H100 80GB HBM3; 512 queries at position 1,536, 32 heads of 128 over 8, a layer):
//   1  keys and values loaded, waited for, multiplied                                  298 us
//   2  the next tile on its way by cp.async, fragments by ldmatrix, masks only on the
//      diagonal (predicted: about 90 us)                                              150 us
// 100 TFLOP/s there, 49 at position 0; what is left is not established. Whole blocks of 64 queries
// fill 256 places of 132 multiprocessors once.
#include "worker/inference/models/cuda/prefill_attention.h"

#include "worker/inference/backend/cuda/async_copy.cuh"
#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/models/cuda/kv_types.cuh"
#include "worker/inference/models/cuda/powers.cuh"
#include "worker/inference/models/cuda/typed_store.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::device {
namespace {

constexpr int warps = 4;
constexpr int tile_queries = 16 * warps;
constexpr int least_shared_bytes = 64 << 10;  // of a block, on every architecture from sm_75 on

// Four 8 x 8 tiles of halves, tile i with its row addresses from lanes 8 i .. 8 i + 7.
__device__ __forceinline__ void load_tiles(std::uint32_t* b, const __half* row) {
    const std::uint32_t address = shared_address(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(address));
}
__device__ __forceinline__ void load_transposed(std::uint32_t* b, const __half* row) {
    const std::uint32_t address = shared_address(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(address));
}

// Rows [first, first + keys) of one head's keys or values, zeros beyond `last` and head_dim.
template <int dim, int keys>
__device__ __forceinline__ void load_rows(__half* to, const __half* from, const float*, int first,
                                          int last, int head_dim) {
    constexpr int stride = dim + 8, runs = dim / 8;
    for (int i = threadIdx.x; i < keys * runs; i += warps * 32) {
        const int row = i / runs, d = i % runs * 8;
        const bool real = first + row < last && d < head_dim;
        const __half* source =
            real ? from + static_cast<std::int64_t>(first + row) * head_dim + d : from;
        __half* target = to + row * stride + d;
        if (head_dim % 8 == 0) {
            copy16_or_zeros(target, source, real);
            continue;
        }
        for (int j = 0; j < 8; ++j) {
            target[j] = real && d + j < head_dim ? source[j] : __float2half_rn(0.0f);
        }
    }
}

// The same of an 8-bit cache, as the halves that its codes stand for.
template <int dim, int keys, class T>
__device__ __forceinline__ void load_rows(__half* to, const T* from, const float* scales, int first,
                                          int last, int head_dim) {
    constexpr int stride = dim + 8, runs = dim / 8;
    for (int i = threadIdx.x; i < keys * runs; i += warps * 32) {
        const int row = i / runs, d = i % runs * 8;
        const bool real = first + row < last && d < head_dim;
        alignas(8) T codes[8];
        const T* source = from + static_cast<std::int64_t>(first + row) * head_dim + d;
        if (real && head_dim % 8 == 0) {
            *reinterpret_cast<uint2*>(codes) = *reinterpret_cast<const uint2*>(source);
        } else {
            for (int j = 0; j < 8; ++j) {
                codes[j] = real && d + j < head_dim ? source[j] : T{};
            }
        }
        alignas(16) __half values[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            if constexpr (needs_scale<T>) {
                values[j] = __float2half_rn(
                    real ? __fmul_rn(to_float(codes[j]), scales[first + row]) : 0.0f);
            } else {
                values[j] = to_half(codes[j]);
            }
        }
        *reinterpret_cast<uint4*>(to + row * stride + d) = *reinterpret_cast<const uint4*>(values);
    }
}

template <class T, int dim, int keys>
__global__ void __launch_bounds__(warps * 32) prefill_kernel(AttentionCall call) {
    constexpr int stride = dim + 8;
    extern __shared__ __align__(16) unsigned char shared[];
    constexpr int tile_halves = keys * stride;
    auto* tiles = reinterpret_cast<__half*>(shared);  // keys and values, twice
    const int head_dim = static_cast<int>(call.shape.head_dim);
    const int heads = static_cast<int>(call.shape.heads);
    const int kv_heads = static_cast<int>(call.shape.kv_heads);
    const int head = static_cast<int>(blockIdx.y), kv_head = head / (heads / kv_heads);
    const std::int64_t sequence = blockIdx.z;
    const int tokens = static_cast<int>(call.stretch.tokens), position = *call.stretch.position;
    const int window = static_cast<int>(call.shape.window);
    const std::int64_t base = (sequence * kv_heads + kv_head) * call.kv.head_stride;
    const T* k = static_cast<const T*>(call.kv.keys) + base;
    const T* v = static_cast<const T*>(call.kv.values) + base;
    const std::int64_t scales = (sequence * kv_heads + kv_head) * call.kv.scale_stride;
    const float* k_scales = call.kv.key_scales + scales;  // read where needs_scale only
    const float* v_scales = call.kv.value_scales + scales;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4, t = lane % 4;
    // Heavy tiles first.
    const int first_token = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tile_queries;
    const int token[2] = {first_token + warp * 16 + g, first_token + warp * 16 + g + 8};
    // 1. Queries as fragments, scaled so that exponentials are powers of two.
    const float scale = call.shape.scale * log2_e;
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
    const auto load = [&](int first, int buffer) {
        __half* to = tiles + 2 * buffer * tile_halves;
        load_rows<dim, keys>(to, k, k_scales, first, last, head_dim);
        load_rows<dim, keys>(to + tile_halves, v, v_scales, first, last, head_dim);
        end_of_copies();
    };
    int buffer = 0;
    load(oldest / keys * keys, buffer);
    for (int first = oldest / keys * keys; first < last; first += keys, buffer = 1 - buffer) {
        // 2. The next tile is on its way while this one is multiplied: scores.
        if (first + keys < last) {
            load(first + keys, 1 - buffer);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        __syncthreads();
        const __half* k_tile = tiles + 2 * buffer * tile_halves;
        const __half* v_tile = k_tile + tile_halves;
        float s[keys / 8][4] = {};
#pragma unroll
        for (int d = 0; d < dim / 16; d += 2) {
#pragma unroll
            for (int n = 0; n < keys / 8; ++n) {
                std::uint32_t b[4];
                load_tiles(b, k_tile + (8 * n + lane % 8) * stride + 16 * d + lane / 8 * 8);
                multiply_tile(s[n], q[d], b[0], b[1]);
                multiply_tile(s[n], q[d + 1], b[2], b[3]);
            }
        }
        // 3. Mask, running maximum, weights.
        float best[2] = {top[0], top[1]};
        const bool all_seen = window == 0 && first + keys <= position + first_token + warp * 16 + 1;
#pragma unroll
        for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int key = first + 8 * n + 2 * t + i % 2, at = position + token[i / 2];
                const bool seen = all_seen || (key <= at && (window == 0 || key > at - window));
                s[n][i] = seen ? s[n][i] * scale : -INFINITY;
                best[i / 2] = fmaxf(best[i / 2], s[n][i]);
            }
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            best[r] = max_over_quad(best[r]);
            const float keep = power_of_two(top[r] - best[r]);
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
                s[n][i] = power_of_two(s[n][i] - top[i / 2]);
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
            const __half* row = v_tile + (16 * n + lane % 16) * stride + lane / 16 * 8;
#pragma unroll
            for (int d = 0; d < dim / 8; d += 2) {
                std::uint32_t b[4];
                load_transposed(b, row + 8 * d);
                multiply_tile(out[d], p, b[0], b[1]);
                multiply_tile(out[d + 1], p, b[2], b[3]);
            }
        }
        __syncthreads();  // before the next round loads into this buffer
    }
    // 5. Results.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        total[r] = sum_over_quad(total[r]);
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

template <class T, int dim, int keys>
cudaError_t launch(const AttentionCall& call, cudaStream_t stream) {
    constexpr int bytes = 4 * keys * (dim + 8) * static_cast<int>(sizeof(__half));
    if (const cudaError_t error = cudaFuncSetAttribute(
            prefill_kernel<T, dim, keys>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
        error != cudaSuccess) {
        if constexpr (bytes > least_shared_bytes) {
            if (error == cudaErrorInvalidValue) {  // a card with less shared memory
                cudaGetLastError();
                return launch<T, dim, keys / 2>(call, stream);
            }
        }
        return error;
    }
    const dim3 grid(static_cast<unsigned>((call.stretch.tokens + tile_queries - 1) / tile_queries),
                    static_cast<unsigned>(call.shape.heads),
                    static_cast<unsigned>(call.stretch.sequences));
    prefill_kernel<T, dim, keys><<<grid, warps * 32, bytes, stream>>>(call);
    return cudaGetLastError();
}

template <class T>
cudaError_t launch(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t dim = call.shape.head_dim;
    return dim <= 32    ? launch<T, 32, 64>(call, stream)
           : dim <= 64  ? launch<T, 64, 64>(call, stream)
           : dim <= 96  ? launch<T, 96, 64>(call, stream)
           : dim <= 128 ? launch<T, 128, 64>(call, stream)
                        : launch<T, 256, 32>(call, stream);
}

}  // namespace

cudaError_t attend_prefill(const AttentionCall& call, cudaStream_t stream) {
    switch (call.kv.type) {
        case KvType::f16:
            return launch<__half>(call, stream);
        case KvType::i8:
            return launch<std::int8_t>(call, stream);
        case KvType::e4m3:
            return launch<E4m3>(call, stream);
        case KvType::f32:
            break;
    }
    return cudaErrorInvalidValue;
}

}  // namespace bitsweep::device
