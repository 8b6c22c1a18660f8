// One new token a sequence: a block a split of the sequence, a key head and up to four of its query
// heads. It turns the token's queries, stores its key and value, and attends to what lies before
// them.
//
// Ladder (NVIDIA H200, cold caches; 32 sequences at position 80, us for 32 heads of 64 over 8):
//   1  store_qkv_kernel and few_queries_kernel (attention.cu)                         4.0 + 11.0
//   2  one kernel; 16 bytes of a key and of a value a lane, eight of each in flight before the
//      first is used; a softmax of its own for every few lanes, so that no thread waits for another
//      until all keys are seen (predicted: 5): 7.1 queued by the host, which makes 4.3 + 10.1 of
//      version 1; at position 2,000, 32 heads of 128 over 8, 83.9 of 5.0 + 257.5 (58.6 the bytes)
//   3  placed before the product ahead is done, cached keys on their way meanwhile (predicted, of
//      a step of a replayed graph: 1 us less). Not measured alone: rows_ops.cu has the whole step
#include "worker/inference/models/cuda/decode_attention.h"

#include <cuda_fp16.h>

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/models/cuda/follow.cuh"
#include "worker/inference/models/cuda/head_pairs.cuh"
#include "worker/inference/models/cuda/key_span.cuh"
#include "worker/inference/models/cuda/powers.cuh"
#include "worker/inference/models/cuda/typed_store.cuh"

namespace bitsweep::device {
namespace {

constexpr int warps = 4, threads = 32 * warps;
constexpr int run = 8;            // neighbours of a head that a lane holds
constexpr int held = 8;           // keys of a lane in flight, and their values
constexpr int together = 4;       // of them between two questions whether there are more
constexpr float lowest = -1e30f;  // below every score, and finite
constexpr float ln_2 = 0.6931471805599453f;

__device__ __forceinline__ void halves_to_floats(const uint4& from, float (&to)[run]) {
    const unsigned words[run / 2] = {from.x, from.y, from.z, from.w};
#pragma unroll
    for (int j = 0; j < run / 2; ++j) {
        const float2 both = __half22float2(*reinterpret_cast<const __half2*>(&words[j]));
        to[2 * j] = both.x, to[2 * j + 1] = both.y;
    }
}

__device__ __forceinline__ void load_run(const float* from, float (&to)[run]) {
#pragma unroll
    for (int j = 0; j < run; j += 4) {
        const float4 four = *reinterpret_cast<const float4*>(from + j);
        to[j] = four.x, to[j + 1] = four.y, to[j + 2] = four.z, to[j + 3] = four.w;
    }
}

// What a block shares: the token's rows, then what its warps found.
template <int group, int dims>
struct Shared {
    alignas(16) float q[group][dims];  // scaled so that scores are powers of two
    alignas(16) float key[dims];       // as stored
    alignas(16) float value[dims];
    alignas(16) float sums[warps][group][dims];
    float tops[warps][group], totals[warps][group];
};

// The heads of a block and the keys before the token that it sees.
struct Part {
    int kv_head, first_head, heads;
    int split, splits, position;
    int begin, end;
    bool stores;
};

__device__ __forceinline__ Part part_of(const AttentionCall& call, int group) {
    const int per_kv = static_cast<int>(call.shape.heads / call.shape.kv_heads);
    const int tiles = (per_kv + group - 1) / group, y = static_cast<int>(blockIdx.y);
    const int first = y % tiles * group;
    Part part;
    part.kv_head = y / tiles;
    part.first_head = part.kv_head * per_kv + first;
    part.heads = min(group, per_kv - first);
    const Span span = span_of(call, blockIdx.z);
    part.splits = split_count(span.last - span.first, static_cast<int>(call.splits));
    part.split = static_cast<int>(blockIdx.x);
    part.position = span.last - 1;
    const int each = (part.position - span.first + part.splits - 1) / part.splits;
    part.begin = span.first + part.split * each;
    part.end = min(part.position, part.begin + each);
    part.stores = part.split == 0 && first == 0;
    return part;
}

// Queries, key and value of the token into `shared`, the latter two also into the cache.
template <int group, int dims>
__device__ __forceinline__ void take_token(const AttentionCall& call, const QkvRows& qkv,
                                           const Part& part, __half* keys, __half* values,
                                           Shared<group, dims>& shared) {
    constexpr int half = dims / 2, units = dims / 4;  // of two pairs
    const int heads = static_cast<int>(call.shape.heads);
    const int kv_heads = static_cast<int>(call.shape.kv_heads);
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.z) * (heads + 2 * kv_heads);
    const std::int64_t angles = static_cast<std::int64_t>(part.position) * half;
    const float scale = call.shape.scale * log2_e;
#pragma unroll
    for (int u = static_cast<int>(threadIdx.x); u < (group + 2) * units; u += threads) {
        const int which = u / units, i = 2 * (u % units);
        const bool query = which < group, key = which == group;
        const int head = query ? part.first_head + min(which, part.heads - 1)
                               : heads + part.kv_head + (key ? 0 : kv_heads);
        const bool rotated = qkv.cos != nullptr && (query || key);
        const HeadPairs pairs{qkv.rows + (row + head) * dims, half, qkv.paired,
                              rotated ? qkv.cos + angles : nullptr,
                              rotated ? qkv.sin + angles : nullptr};
        const float4 v = pairs.two_at(i);
        if (query) {
            store_two(v.x * scale, v.y * scale, shared.q[which] + i);
            store_two(v.z * scale, v.w * scale, shared.q[which] + i + half);
            continue;
        }
        const __half2 first = __floats2half2_rn(v.x, v.y), second = __floats2half2_rn(v.z, v.w);
        float* to = key ? shared.key : shared.value;
        store_two(__low2float(first), __high2float(first), to + i);
        store_two(__low2float(second), __high2float(second), to + i + half);
        if (part.stores) {
            __half* cache =
                (key ? keys : values) + static_cast<std::int64_t>(part.position) * dims + i;
            *reinterpret_cast<__half2*>(cache) = first;
            *reinterpret_cast<__half2*>(cache + half) = second;
        }
    }
}

// A head's product over the lanes that share a key.
template <int lanes>
__device__ __forceinline__ float score_of(const float (&q)[run], const float (&key)[run]) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < run; ++j) {
        sum = fmaf(q[j], key[j], sum);
    }
    return sum_over_warp<lanes>(sum);
}

// Of `together` keys, whose sums over lanes overlap; left alone where none of them is seen.
template <int group, int dims>
__device__ __forceinline__ void scores_of(const float (&q)[group][run], const uint4* keys,
                                          bool seen, float (*scores)[group]) {
    if (!seen) {
        return;
    }
#pragma unroll
    for (int n = 0; n < together; ++n) {
        float key[run];
        halves_to_floats(keys[n], key);
#pragma unroll
        for (int g = 0; g < group; ++g) {
            scores[n][g] = score_of<dims / run>(q[g], key);
        }
    }
}

template <int group, int dims>
__global__ void __launch_bounds__(threads)
    decode_attention_kernel(AttentionCall call, QkvRows qkv) {
    constexpr int lanes = dims / run, per_warp = 32 / lanes, step = warps * per_warp;
    __shared__ Shared<group, dims> shared;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    const int slice = lane % lanes * run, turn = warp * per_warp + lane / lanes;
    // 1. Which keys, which heads; the first keys and values on their way.
    const Part part = part_of(call, group);
    if (part.split >= part.splits) {
        return;
    }
    const std::int64_t head =
        (blockIdx.z * call.shape.kv_heads + part.kv_head) * call.kv.head_stride;
    __half* keys = static_cast<__half*>(call.kv.keys) + head;
    __half* values = static_cast<__half*>(call.kv.values) + head;
    const auto load = [&](const __half* from, int tile, uint4(&to)[held]) {
#pragma unroll
        for (int i = 0; i < held; ++i) {
            const int key = tile + i * step + turn;
            to[i] = key < part.end ? *reinterpret_cast<const uint4*>(
                                         from + static_cast<std::int64_t>(key) * dims + slice)
                                   : uint4{0, 0, 0, 0};
        }
    };
    uint4 k[held], v[held];
    load(keys, part.begin, k);
    load(values, part.begin, v);
    // 2. The token's own rows. Position and older keys were there before this pass.
    wait_for_previous();
    take_token<group, dims>(call, qkv, part, keys, values, shared);
    __syncthreads();
    float q[group][run], top[group], total[group], sum[group][run];
#pragma unroll
    for (int g = 0; g < group; ++g) {
        load_run(shared.q[g] + slice, q[g]);
    }
    // 3. Its own key and value begin the softmax of the first lanes.
    const bool begins = part.split == 0 && turn == 0;
    float own[run];
    load_run(shared.key + slice, own);
#pragma unroll
    for (int g = 0; g < group; ++g) {
        const float score = score_of<lanes>(q[g], own);
        top[g] = begins ? score : lowest;
        total[g] = begins ? 1.0f : 0.0f;
    }
    load_run(shared.value + slice, own);
#pragma unroll
    for (int g = 0; g < group; ++g) {
#pragma unroll
        for (int j = 0; j < run; ++j) {
            sum[g][j] = begins ? own[j] : 0.0f;
        }
    }
    // 4. The keys before it.
    for (int tile = part.begin; tile < part.end; tile += held * step) {
        float weights[held][group];
        const auto seen = [&](int i) { return tile + i * step + warp * per_warp < part.end; };
#pragma unroll
        for (int i = 0; i < held; i += together) {
            scores_of<group, dims>(q, k + i, seen(i), weights + i);
        }
#pragma unroll
        for (int i = 0; i < held; ++i) {
#pragma unroll
            for (int g = 0; g < group; ++g) {
                const bool real = tile + i * step + turn < part.end;
                weights[i][g] = real ? weights[i][g] : -INFINITY;
            }
        }
        load(keys, tile + held * step, k);
#pragma unroll
        for (int g = 0; g < group; ++g) {
            float best = top[g];
#pragma unroll
            for (int i = 0; i < held; ++i) {
                best = fmaxf(best, weights[i][g]);
            }
            const float keep = power_of_two(top[g] - best);
            top[g] = best;
            total[g] *= keep;
#pragma unroll
            for (int j = 0; j < run; ++j) {
                sum[g][j] *= keep;
            }
#pragma unroll
            for (int i = 0; i < held; ++i) {
                weights[i][g] = power_of_two(weights[i][g] - best);
                total[g] += weights[i][g];
            }
        }
#pragma unroll
        for (int i = 0; i < held; i += together) {
            if (seen(i)) {
#pragma unroll
                for (int n = i; n < i + together; ++n) {
                    float value[run];
                    halves_to_floats(v[n], value);
#pragma unroll
                    for (int g = 0; g < group; ++g) {
#pragma unroll
                        for (int j = 0; j < run; ++j) {
                            sum[g][j] = fmaf(weights[n][g], value[j], sum[g][j]);
                        }
                    }
                }
            }
        }
        load(values, tile + held * step, v);
    }
    // 5. The lanes of a warp together.
#pragma unroll
    for (int offset = lanes; offset < 32; offset *= 2) {
#pragma unroll
        for (int g = 0; g < group; ++g) {
            const float best = fmaxf(top[g], __shfl_xor_sync(0xffffffffu, top[g], offset));
            const float keep = power_of_two(top[g] - best);
            top[g] = best;
            total[g] *= keep;
            total[g] += __shfl_xor_sync(0xffffffffu, total[g], offset);
#pragma unroll
            for (int j = 0; j < run; ++j) {
                sum[g][j] *= keep;
                sum[g][j] += __shfl_xor_sync(0xffffffffu, sum[g][j], offset);
            }
        }
    }
    if (lane < lanes) {
#pragma unroll
        for (int g = 0; g < group; ++g) {
#pragma unroll
            for (int j = 0; j < run; j += 4) {
                *reinterpret_cast<float4*>(shared.sums[warp][g] + slice + j) = {
                    sum[g][j], sum[g][j + 1], sum[g][j + 2], sum[g][j + 3]};
            }
            if (lane == 0) {
                shared.tops[warp][g] = top[g], shared.totals[warp][g] = total[g];
            }
        }
    }
    __syncthreads();
    // 6. The warps together, then out: finished, or for the combination of splits.
    for (int o = thread; o < part.heads * dims; o += threads) {
        const int g = o / dims, d = o % dims;
        float best = shared.tops[0][g];
#pragma unroll
        for (int w = 1; w < warps; ++w) {
            best = fmaxf(best, shared.tops[w][g]);
        }
        float all = 0, weighted = 0;
#pragma unroll
        for (int w = 0; w < warps; ++w) {
            const float keep = power_of_two(shared.tops[w][g] - best);
            all = fmaf(keep, shared.totals[w][g], all);
            weighted = fmaf(keep, shared.sums[w][g][d], weighted);
        }
        const std::int64_t of_row = part.first_head + g, row = blockIdx.z;
        if (call.splits == 1) {
            store_typed(call.out, row, of_row * dims + d, weighted / all);
            continue;
        }
        float* partial =
            call.partial +
            ((row * call.shape.heads + of_row) * call.splits + part.split) * (dims + 2);
        partial[d] = weighted;
        if (d == 0) {  // combine_kernel's scores are to the base e
            partial[dims] = best * ln_2, partial[dims + 1] = all;
        }
    }
}

template <int group, int dims>
cudaError_t launch(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream) {
    const std::int64_t per_kv = call.shape.heads / call.shape.kv_heads;
    const dim3 grid(static_cast<unsigned>(call.splits),
                    static_cast<unsigned>(call.shape.kv_heads * ((per_kv + group - 1) / group)),
                    static_cast<unsigned>(call.stretch.sequences));
    return launch_behind<decode_attention_kernel<group, dims>>(call.follow, grid, threads, stream,
                                                               call, qkv);
}

}  // namespace

bool attends_while_storing(const AttentionCall& call) {
    return call.stretch.tokens == 1 && call.kv.type == KvType::f16 &&
           (call.shape.head_dim == 64 || call.shape.head_dim == 128);
}

cudaError_t decode_attention(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream) {
    const bool single = call.shape.heads == call.shape.kv_heads;
    if (call.shape.head_dim == 64) {
        return single ? launch<1, 64>(call, qkv, stream) : launch<4, 64>(call, qkv, stream);
    }
    return single ? launch<1, 128>(call, qkv, stream) : launch<4, 128>(call, qkv, stream);
}

}  // namespace bitsweep::device
