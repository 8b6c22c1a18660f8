// Keys and values into the cache, and attention for few query rows: a block a split of the
// sequence, a key head and up to four of its query heads.
//
// Ladder of the latter (NVIDIA H200; 32 sequences at position 80, us for 32 heads of 128 / of 64
// over 8, eight calls in a row):
//   1  a thread a key, queries and weights read from shared memory once a multiplication, two
//      dimensions of the values a thread                                             16.6 / 11.7
//      more loads in flight (predicted: half of that) changed nothing: 63 % of the time warps
//      waited for shared memory
//   2  eight lanes a key with the queries in registers, 16 bytes of the values a thread (predicted
//      6 / 5)                                                                        13.6 / 10.5
//      in a run where the host queued a kernel that does next to nothing every 5.5 us, not 4.8
#include <algorithm>

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/models/cuda/decode_attention.h"
#include "worker/inference/models/cuda/device_ops.h"
#include "worker/inference/models/cuda/head_pairs.cuh"
#include "worker/inference/models/cuda/hopper_attention.h"
#include "worker/inference/models/cuda/key_span.cuh"
#include "worker/inference/models/cuda/kv_types.cuh"
#include "worker/inference/models/cuda/prefill_attention.h"
#include "worker/inference/models/cuda/typed_store.cuh"

namespace bitsweep::device {
namespace {

constexpr int threads = 128;  // also the keys of a tile

const dim3 store_threads(32, 8);  // one or two pairs of a head each, heads

// By a whole warp: writes the scale of a key or value and returns the factor of its codes, 0 where
// all are 0.
__device__ float scale_of_head(const HeadPairs& pairs, int dim, float* scales, std::int64_t at) {
    float largest = 0, poison = 0;
    const auto look = [&](float v) {
        largest = fmaxf(largest, fabsf(v));
        poison = isfinite(v) ? poison : 1.0f;
    };
    for (int i = threadIdx.x; i < pairs.half; i += 32) {
        const float2 v = pairs.at(i);
        look(v.x);
        look(v.y);
    }
    if (dim % 2 != 0) {
        look(pairs.from[dim - 1]);
    }
    largest = max_over_warp(largest);
    poison = max_over_warp(poison);
    const float scale = __fdiv_rn(largest, 127.0f);
    if (threadIdx.x == 0) {
        scales[at] = poison != 0 ? __int_as_float(0x7fc00000) : scale;
    }
    return poison == 0 && scale > 1e-36f ? __fdiv_rn(127.0f, largest) : 0.0f;
}

// A block a row and the heads of threadIdx.y, a warp a head; a thread the elements i and i +
// head_dim / 2 of it, and where it can their neighbours.
template <class T>
__global__ void store_qkv_kernel(AttentionCall call, QkvRows qkv) {
    const int dim = static_cast<int>(call.shape.head_dim), half = dim / 2;
    const int heads = static_cast<int>(call.shape.heads);
    const int kv_heads = static_cast<int>(call.shape.kv_heads);
    const std::int64_t row = blockIdx.x;
    const std::int64_t sequence = row / call.stretch.tokens;
    const std::int64_t position = *call.stretch.position + row % call.stretch.tokens;
    for (int head = blockIdx.y * blockDim.y + threadIdx.y; head < heads + 2 * kv_heads;
         head += gridDim.y * blockDim.y) {
        const float* from = qkv.rows + (row * (heads + 2 * kv_heads) + head) * dim;
        const bool query = head < heads, key = !query && head < heads + kv_heads;
        const int kv_head = head - heads - (key ? 0 : kv_heads);
        float* q = call.q + (row * heads + head) * dim;
        T* cache = static_cast<T*>(key ? call.kv.keys : call.kv.values) +
                   (sequence * kv_heads + kv_head) * call.kv.head_stride + position * dim;
        const bool rotated = qkv.cos != nullptr && (query || key);
        const HeadPairs pairs{from, half, qkv.paired, rotated ? qkv.cos + position * half : nullptr,
                              rotated ? qkv.sin + position * half : nullptr};
        [[maybe_unused]] float factor = 1;
        if constexpr (needs_scale<T>) {  // as store_codes of ops_kernels.inc
            if (!query) {
                factor = scale_of_head(
                    pairs, dim, key ? call.kv.key_scales : call.kv.value_scales,
                    (sequence * kv_heads + kv_head) * call.kv.scale_stride + position);
            }
        }
        if constexpr (!needs_scale<T>) {
            if (dim % 4 == 0) {
                for (int i = 2 * threadIdx.x; i < half; i += 2 * blockDim.x) {
                    const float4 v = pairs.two_at(i);
                    if (query) {
                        store_two(v.x, v.y, q + i), store_two(v.z, v.w, q + i + half);
                    } else {
                        store_two(v.x, v.y, cache + i), store_two(v.z, v.w, cache + i + half);
                    }
                }
                continue;
            }
        }
        const auto store = [&](int e, float v) {
            if (query) {
                q[e] = v;
            } else if constexpr (needs_scale<T>) {
                cache[e] =
                    static_cast<std::int8_t>(factor > 0 ? __float2int_rn(__fmul_rn(v, factor)) : 0);
            } else {
                from_float(v, cache + e);
            }
        };
        for (int i = threadIdx.x; i < half; i += blockDim.x) {
            const float2 v = pairs.at(i);
            store(i, v.x);
            store(i + half, v.y);
        }
        if (dim % 2 != 0 && threadIdx.x == 0) {
            store(dim - 1, from[dim - 1]);
        }
    }
}

// 16 bytes of a row, floats; `inside` of them where the row ends or is no multiple of 16 bytes.
template <class T>
inline constexpr int run = 16 / sizeof(T);

template <class T>
__device__ __forceinline__ void load_run(const T* from, int inside, bool aligned,
                                         float (&to)[run<T>]) {
    alignas(16) T values[run<T>];
    if (aligned && inside > 0) {
        *reinterpret_cast<uint4*>(values) = *reinterpret_cast<const uint4*>(from);
    } else {
#pragma unroll
        for (int j = 0; j < run<T>; ++j) {
            values[j] = j < inside ? from[j] : T{};
        }
    }
#pragma unroll
    for (int j = 0; j < run<T>; ++j) {
        to[j] = to_float(values[j]);
    }
}

// The heads of a block, and the keys that it sees of them.
struct Part {
    std::int64_t row, first_head, kv_head;
    int heads, split, splits;
    int begin, end;
};

template <int group>
__device__ __forceinline__ Part part_of(const AttentionCall& call) {
    const int per_kv = static_cast<int>(call.shape.heads / call.shape.kv_heads);
    const int tiles = (per_kv + group - 1) / group, y = static_cast<int>(blockIdx.y);
    Part part;
    part.row = blockIdx.z;
    part.kv_head = y / tiles;
    part.first_head = part.kv_head * per_kv + y % tiles * group;
    part.heads = min(group, per_kv - y % tiles * group);
    const Span span = span_of(call, part.row);
    part.splits = split_count(span.last - span.first, static_cast<int>(call.splits));
    part.split = static_cast<int>(blockIdx.x);
    const int each = (span.last - span.first + part.splits - 1) / part.splits;
    part.begin = span.first + part.split * each;
    part.end = min(span.last, part.begin + each);
    return part;
}

constexpr int key_lanes = 8;  // that share a key's dimensions

// Scores of a warp's 32 keys from `first` on: a key's dimensions over eight lanes that hold those
// of the queries, four keys at once. Lane i gets the key first + i.
template <class T, int group, int runs>
__device__ __forceinline__ void scores_of(const T* keys, int first, int end, int dim,
                                          const float (&q)[runs][group][run<T>],
                                          float (&scores)[group]) {
    const int lane = static_cast<int>(threadIdx.x) % 32, slice = lane % key_lanes;
    const bool aligned = dim % run<T> == 0;
    constexpr int at_once = 32 / key_lanes;
#pragma unroll 4
    for (int i = 0; i < 32 / at_once; ++i) {
        const int key = first + i * at_once + lane / key_lanes;
        const T* row = keys + static_cast<std::int64_t>(min(key, end - 1)) * dim;
        float sum[group] = {};
#pragma unroll
        for (int r = 0; r < runs; ++r) {
            const int d = (r * key_lanes + slice) * run<T>;
            float k[run<T>];
            load_run(row + d, dim - d, aligned, k);
#pragma unroll
            for (int g = 0; g < group; ++g) {
#pragma unroll
                for (int j = 0; j < run<T>; ++j) {
                    sum[g] = fmaf(q[r][g][j], k[j], sum[g]);
                }
            }
        }
#pragma unroll
        for (int g = 0; g < group; ++g) {
            sum[g] = sum_over_warp<key_lanes>(sum[g]);
            const float mine = __shfl_sync(0xffffffffu, sum[g], lane % at_once * key_lanes);
            scores[g] = lane / at_once == i ? mine : scores[g];
        }
    }
}

// A block's softmax over tiles of as many keys as it has threads; then 16 bytes of values a thread,
// the keys of a tile dealt out over what threads are left. `dims`: at least head_dim.
template <class T, int group, int dims>
__global__ void __launch_bounds__(threads) few_queries_kernel(AttentionCall call) {
    constexpr int runs = (dims / run<T> + key_lanes - 1) / key_lanes;
    __shared__ float weights[threads][group];
    __shared__ float sums[threads][run<T> + 1];
    __shared__ float tops[threads / 32][group], totals[threads / 32][group];
    const int dim = static_cast<int>(call.shape.head_dim),
              heads = static_cast<int>(call.shape.heads);
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    const bool aligned = dim % run<T> == 0;
    // 1. Which keys, which heads; this lane's slice of the queries.
    const Part part = part_of<group>(call);
    if (part.split >= part.splits) {
        return;
    }
    const std::int64_t head = part.row / call.stretch.tokens * call.shape.kv_heads + part.kv_head;
    const T* keys = static_cast<const T*>(call.kv.keys) + head * call.kv.head_stride;
    const T* values = static_cast<const T*>(call.kv.values) + head * call.kv.head_stride;
    [[maybe_unused]] const std::int64_t scales = head * call.kv.scale_stride;
    float q[runs][group][run<T>];
#pragma unroll
    for (int r = 0; r < runs; ++r) {
        const int d = (r * key_lanes + lane % key_lanes) * run<T>;
#pragma unroll
        for (int g = 0; g < group; ++g) {
            const float* from =
                call.q + (part.row * heads + part.first_head + min(g, part.heads - 1)) * dim;
#pragma unroll
            for (int j = 0; j < run<T>; ++j) {
                q[r][g][j] = d + j < dim ? from[d + j] * call.shape.scale : 0.0f;
            }
        }
    }
    // 2. Tiles of keys: scores, running maximum, weighted values.
    const int lanes = (dim + run<T> - 1) / run<T>, parts = threads / lanes;
    const int slice = thread % lanes, turn = thread / lanes;
    float top[group], total[group], sum[group][run<T>];
#pragma unroll
    for (int g = 0; g < group; ++g) {
        top[g] = -1e30f, total[g] = 0;
#pragma unroll
        for (int j = 0; j < run<T>; ++j) {
            sum[g][j] = 0;
        }
    }
    for (int tile = part.begin; tile < part.end; tile += threads) {
        const int key = tile + thread;
        const bool real = key < part.end;
        float scores[group] = {};
        if (tile + 32 * warp < part.end) {
            scores_of<T, group, runs>(keys, tile + 32 * warp, part.end, dim, q, scores);
        }
        float value_scale = 1;
        if constexpr (needs_scale<T>) {
            const float key_scale = real ? call.kv.key_scales[scales + key] : 0.0f;
            value_scale = real ? call.kv.value_scales[scales + key] : 0.0f;
#pragma unroll
            for (int g = 0; g < group; ++g) {
                scores[g] *= key_scale;
            }
        }
#pragma unroll
        for (int g = 0; g < group; ++g) {
            scores[g] = real ? scores[g] : -INFINITY;
            const float best = max_over_warp(scores[g]);
            if (lane == 0) {
                tops[warp][g] = best;
            }
        }
        __syncthreads();
#pragma unroll
        for (int g = 0; g < group; ++g) {
            float best = top[g];
#pragma unroll
            for (int w = 0; w < threads / 32; ++w) {
                best = fmaxf(best, tops[w][g]);
            }
            const float keep = __expf(top[g] - best);
            top[g] = best;
            total[g] *= keep;
#pragma unroll
            for (int j = 0; j < run<T>; ++j) {
                sum[g][j] *= keep;
            }
            const float weight = __expf(scores[g] - best);
            weights[thread][g] = weight * value_scale;
            const float all = sum_over_warp(weight);
            if (lane == 0) {
                totals[warp][g] = all;
            }
        }
        __syncthreads();
#pragma unroll
        for (int g = 0; g < group; ++g) {
#pragma unroll
            for (int w = 0; w < threads / 32; ++w) {
                total[g] += totals[w][g];
            }
        }
        const int here = min(threads, part.end - tile);
        const T* from = values + static_cast<std::int64_t>(tile) * dim + slice * run<T>;
#pragma unroll 4
        for (int k = turn < parts ? turn : here; k < here; k += parts) {
            float v[run<T>];
            load_run(from + k * dim, dim - slice * run<T>, aligned, v);
#pragma unroll
            for (int g = 0; g < group; ++g) {
#pragma unroll
                for (int j = 0; j < run<T>; ++j) {
                    sum[g][j] = fmaf(weights[k][g], v[j], sum[g][j]);
                }
            }
        }
        __syncthreads();
    }
    // 3. Parts together, then out: finished, or for the combination of splits.
#pragma unroll
    for (int g = 0; g < group; ++g) {
#pragma unroll
        for (int j = 0; j < run<T>; ++j) {
            sums[thread][j] = sum[g][j];
        }
        __syncthreads();
        const std::int64_t at = part.first_head + g;
        float* partial =
            call.partial + ((part.row * heads + at) * call.splits + part.split) * (dim + 2);
        for (int d = thread; g < part.heads && d < dim; d += threads) {
            float v = 0;
            for (int p = 0; p < parts; ++p) {
                v += sums[p * lanes + d / run<T>][d % run<T>];
            }
            if (call.splits == 1) {
                store_typed(call.out, part.row, at * dim + d, v / total[g]);
            } else {
                partial[d] = v;
            }
        }
        if (call.splits > 1 && g < part.heads && thread == 0) {
            partial[dim] = top[g], partial[dim + 1] = total[g];
        }
        __syncthreads();
    }
}

// A block a row and head.
__global__ void combine_kernel(AttentionCall call) {
    const int dim = static_cast<int>(call.shape.head_dim);
    const std::int64_t row = blockIdx.x, head = blockIdx.y;
    const Span span = span_of(call, row);
    const int splits = split_count(span.last - span.first, static_cast<int>(call.splits));
    const float* partial = call.partial + (row * call.shape.heads + head) * call.splits * (dim + 2);
    float top = -1e30f;
    for (int s = 0; s < splits; ++s) {
        top = fmaxf(top, partial[s * (dim + 2) + dim]);
    }
    for (int d = threadIdx.x; d < dim; d += blockDim.x) {
        float sum = 0, total = 0;
        for (int s = 0; s < splits; ++s) {
            const float weight = __expf(partial[s * (dim + 2) + dim] - top);
            sum = fmaf(weight, partial[s * (dim + 2) + d], sum);
            total = fmaf(weight, partial[s * (dim + 2) + dim + 1], total);
        }
        store_typed(call.out, row, head * dim + d, sum / total);
    }
}

void combine(const AttentionCall& call, cudaStream_t stream) {
    if (call.splits > 1) {
        const dim3 rows(static_cast<unsigned>(call.stretch.rows()),
                        static_cast<unsigned>(call.shape.heads));
        combine_kernel<<<rows, 64, 0, stream>>>(call);
    }
}

template <class T, int group, int dims>
cudaError_t few_queries(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t per_kv = call.shape.heads / call.shape.kv_heads;
    const dim3 grid(static_cast<unsigned>(call.splits),
                    static_cast<unsigned>(call.shape.kv_heads * ((per_kv + group - 1) / group)),
                    static_cast<unsigned>(call.stretch.rows()));
    few_queries_kernel<T, group, dims><<<grid, threads, 0, stream>>>(call);
    combine(call, stream);
    return cudaGetLastError();
}

// As many heads of a key as leave their queries room in a thread's registers: 64 of them.
template <class T>
cudaError_t few_queries(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t per_kv = call.shape.heads / call.shape.kv_heads, dim = call.shape.head_dim;
    if (dim <= 64) {
        return per_kv == 1 ? few_queries<T, 1, 64>(call, stream)
                           : few_queries<T, 4, 64>(call, stream);
    }
    if (dim <= 128) {
        return per_kv == 1 ? few_queries<T, 1, 128>(call, stream)
                           : few_queries<T, 4, 128>(call, stream);
    }
    return per_kv == 1 ? few_queries<T, 1, 256>(call, stream)
                       : few_queries<T, 2, 256>(call, stream);
}

}  // namespace

cudaError_t store_qkv(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream) {
    const std::int64_t heads = call.shape.heads + 2 * call.shape.kv_heads;
    const dim3 block = store_threads;  // a warp a head: of codes, it finds their scale
    const dim3 grid(static_cast<unsigned>(call.stretch.rows()),
                    static_cast<unsigned>((heads + block.y - 1) / block.y));
    switch (call.kv.type) {
        case KvType::f32:
            store_qkv_kernel<float><<<grid, block, 0, stream>>>(call, qkv);
            break;
        case KvType::f16:
            store_qkv_kernel<__half><<<grid, block, 0, stream>>>(call, qkv);
            break;
        case KvType::i8:
            store_qkv_kernel<std::int8_t><<<grid, block, 0, stream>>>(call, qkv);
            break;
        case KvType::e4m3:
            store_qkv_kernel<E4m3><<<grid, block, 0, stream>>>(call, qkv);
            break;
    }
    return cudaGetLastError();
}

cudaError_t attend(const AttentionCall& call, cudaStream_t stream) {
    if (hopper_attends(call)) {
        return attend_hopper(call, stream);
    }
    if (call.kv.type != KvType::f32 && call.stretch.tokens >= prefill_least_tokens) {
        return attend_prefill(call, stream);
    }
    switch (call.kv.type) {
        case KvType::f32:
            return few_queries<float>(call, stream);
        case KvType::f16:
            return few_queries<__half>(call, stream);
        case KvType::i8:
            return few_queries<std::int8_t>(call, stream);
        case KvType::e4m3:
            return few_queries<E4m3>(call, stream);
    }
    return cudaErrorInvalidValue;
}

cudaError_t store_and_attend(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream) {
    if (!attends_while_storing(call)) {
        const cudaError_t stored = store_qkv(call, qkv, stream);
        return stored == cudaSuccess ? attend(call, stream) : stored;
    }
    const cudaError_t queued = decode_attention(call, qkv, stream);
    combine(call, stream);
    return queued == cudaSuccess ? cudaGetLastError() : queued;
}

}  // namespace bitsweep::device
