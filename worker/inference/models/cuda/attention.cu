// Keys and values into the cache, and attention for few query rows: a block a split of the
// sequence, a key head and up to eight of its query heads.
#include <algorithm>

#include "worker/inference/models/cuda/device_ops.h"
#include "worker/inference/models/cuda/kv_types.cuh"
#include "worker/inference/models/cuda/prefill_attention.h"
#include "worker/inference/models/cuda/typed_store.cuh"

namespace bitsweep::device {
namespace {

constexpr int threads = 128;      // also the keys of a tile
constexpr int least_split = 128;  // keys worth a block of their own

const dim3 store_threads(64, 4);  // pairs of a head, heads
const dim3 code_threads(32, 8);   // a warp a head, which has one scale

// Elements i and i + head_dim / 2 of a head, rotated where there are angles.
struct HeadPairs {
    const float* from;
    int half;
    bool paired;
    const float *cos, *sin;  // of the position; null: none

    __device__ __forceinline__ float2 at(int i) const {
        const float a = paired ? from[2 * i] : from[i];
        const float b = paired ? from[2 * i + 1] : from[i + half];
        if (cos == nullptr) {
            return {a, b};
        }
        return {a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]};
    }
};

template <class Op>
__device__ __forceinline__ float over_warp(float value, Op op) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        value = op(value, __shfl_xor_sync(0xffffffffu, value, offset));
    }
    return value;
}

// By a whole warp: writes the scale of a key or value and returns the factor of its codes, 0 where
// all are 0.
__device__ float scale_of_head(const HeadPairs& pairs, int dim, float* scales, std::int64_t at) {
    const auto larger = [](float a, float b) { return fmaxf(a, b); };
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
    largest = over_warp(largest, larger);
    poison = over_warp(poison, larger);
    const float scale = __fdiv_rn(largest, 127.0f);
    if (threadIdx.x == 0) {
        scales[at] = poison != 0 ? __int_as_float(0x7fc00000) : scale;
    }
    return poison == 0 && scale > 1e-36f ? __fdiv_rn(127.0f, largest) : 0.0f;
}

// A block a row and the heads of threadIdx.y; a thread the elements i and i + head_dim / 2 of a
// head.
template <class T>
__global__ void store_qkv_kernel(AttentionCall call, const float* qkv, bool paired,
                                 const float* cos, const float* sin) {
    const int dim = static_cast<int>(call.shape.head_dim), half = dim / 2;
    const int heads = static_cast<int>(call.shape.heads);
    const int kv_heads = static_cast<int>(call.shape.kv_heads);
    const std::int64_t row = blockIdx.x;
    const std::int64_t sequence = row / call.stretch.tokens;
    const std::int64_t position = *call.stretch.position + row % call.stretch.tokens;
    for (int head = blockIdx.y * blockDim.y + threadIdx.y; head < heads + 2 * kv_heads;
         head += gridDim.y * blockDim.y) {
        const float* from = qkv + (row * (heads + 2 * kv_heads) + head) * dim;
        const bool query = head < heads, key = !query && head < heads + kv_heads;
        const int kv_head = head - heads - (key ? 0 : kv_heads);
        float* q = call.q + (row * heads + head) * dim;
        T* cache = static_cast<T*>(key ? call.kv.keys : call.kv.values) +
                   (sequence * kv_heads + kv_head) * call.kv.head_stride + position * dim;
        const bool rotated = cos != nullptr && (query || key);
        const HeadPairs pairs{from, half, paired, rotated ? cos + position * half : nullptr,
                              rotated ? sin + position * half : nullptr};
        [[maybe_unused]] float factor = 1;
        if constexpr (needs_scale<T>) {  // as store_codes of ops_kernels.inc
            if (!query) {
                factor = scale_of_head(
                    pairs, dim, key ? call.kv.key_scales : call.kv.value_scales,
                    (sequence * kv_heads + kv_head) * call.kv.scale_stride + position);
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

__device__ __forceinline__ int split_count(int keys, int most) {
    const int wanted = (keys + least_split - 1) / least_split;
    return max(1, min(wanted, most));
}

// The keys that a row sees.
struct Span {
    int first, last;
};
__device__ __forceinline__ Span span_of(const AttentionCall& call, std::int64_t row) {
    const int last = *call.stretch.position + static_cast<int>(row % call.stretch.tokens) + 1;
    const int window = static_cast<int>(call.shape.window);
    return {window > 0 ? max(0, last - window) : 0, last};
}

// sum over head_dim of q (shared, float) times one key row, for `group` heads.
template <class T, int group>
__device__ __forceinline__ void scores_of(const T* key, const float* q, int dim, float* scores) {
#pragma unroll
    for (int g = 0; g < group; ++g) {
        scores[g] = 0;
    }
    constexpr int run = 16 / sizeof(T);
    if (dim % run == 0) {
        for (int d = 0; d < dim; d += run) {
            alignas(16) T values[run];
            *reinterpret_cast<uint4*>(values) = *reinterpret_cast<const uint4*>(key + d);
#pragma unroll
            for (int j = 0; j < run; ++j) {
                const float v = to_float(values[j]);
#pragma unroll
                for (int g = 0; g < group; ++g) {
                    scores[g] = fmaf(q[g * dim + d + j], v, scores[g]);
                }
            }
        }
        return;
    }
    for (int d = 0; d < dim; ++d) {
        const float v = to_float(key[d]);
#pragma unroll
        for (int g = 0; g < group; ++g) {
            scores[g] = fmaf(q[g * dim + d], v, scores[g]);
        }
    }
}

// Two neighbouring dimensions a thread, the keys of a tile dealt out over what threads are left.
template <class T, int group>
__global__ void __launch_bounds__(threads) few_queries_kernel(AttentionCall call) {
    extern __shared__ float shared[];
    const int dim = static_cast<int>(call.shape.head_dim);
    const int kv_heads = static_cast<int>(call.shape.kv_heads);
    const int heads = static_cast<int>(call.shape.heads), per_kv = heads / kv_heads;
    float* q = shared;                        // [group][dim]
    float* weights = q + group * dim;         // [group][threads]
    float* sums = weights + group * threads;  // [threads][2] for the last reduction
    __shared__ float tops[threads / 32][group], totals[threads / 32][group];
    // 1. Which keys, which heads.
    const std::int64_t row = blockIdx.z, sequence = row / call.stretch.tokens;
    const int tiles_of_heads = (per_kv + group - 1) / group;
    const int kv_head = static_cast<int>(blockIdx.y) / tiles_of_heads;
    const int first_head = kv_head * per_kv + static_cast<int>(blockIdx.y) % tiles_of_heads * group;
    const int count = min(group, (kv_head + 1) * per_kv - first_head);
    const Span span = span_of(call, row);
    const int splits = split_count(span.last - span.first, static_cast<int>(call.splits));
    const int split = static_cast<int>(blockIdx.x);
    if (split >= splits) {
        return;
    }
    const int per_split = (span.last - span.first + splits - 1) / splits;
    const int begin = span.first + split * per_split, end = min(span.last, begin + per_split);
    const std::int64_t base = (sequence * kv_heads + kv_head) * call.kv.head_stride;
    const T* keys = static_cast<const T*>(call.kv.keys) + base;
    const T* values = static_cast<const T*>(call.kv.values) + base;
    [[maybe_unused]] const std::int64_t scales =
        (sequence * kv_heads + kv_head) * call.kv.scale_stride;
    for (int i = threadIdx.x; i < group * dim; i += threads) {
        const int head = first_head + min(i / dim, count - 1);
        q[i] = call.q[(row * heads + head) * dim + i % dim] * call.shape.scale;
    }
    __syncthreads();
    // 2. Tiles of keys: scores, running maximum, weighted values.
    const int pairs = (dim + 1) / 2, lanes = (pairs + 31) / 32 * 32, parts = threads / lanes;
    const int pair = static_cast<int>(threadIdx.x) % lanes,
              part = static_cast<int>(threadIdx.x) / lanes;
    float top[group], total[group], sum[group][2];
#pragma unroll
    for (int g = 0; g < group; ++g) {
        top[g] = -1e30f, total[g] = 0, sum[g][0] = sum[g][1] = 0;
    }
    for (int tile = begin; tile < end; tile += threads) {
        const int key = tile + static_cast<int>(threadIdx.x);
        float scores[group] = {};
        if (key < end) {
            scores_of<T, group>(keys + static_cast<std::int64_t>(key) * dim, q, dim, scores);
        }
        float value_scale = 1;
        if constexpr (needs_scale<T>) {
            const float key_scale = key < end ? call.kv.key_scales[scales + key] : 0.0f;
            value_scale = key < end ? call.kv.value_scales[scales + key] : 0.0f;
#pragma unroll
            for (int g = 0; g < group; ++g) {
                scores[g] *= key_scale;
            }
        }
#pragma unroll
        for (int g = 0; g < group; ++g) {
            scores[g] = key < end ? scores[g] : -INFINITY;
            const float best = over_warp(scores[g], [](float a, float b) { return fmaxf(a, b); });
            if (threadIdx.x % 32 == 0) {
                tops[threadIdx.x / 32][g] = best;
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
            sum[g][0] *= keep, sum[g][1] *= keep, total[g] *= keep;
            const float weight = __expf(scores[g] - best);
            weights[g * threads + threadIdx.x] = weight * value_scale;
            const float all = over_warp(weight, [](float a, float b) { return a + b; });
            if (threadIdx.x % 32 == 0) {
                totals[threadIdx.x / 32][g] = all;
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
        const int here = min(threads, end - tile);
        if (part < parts && pair < pairs) {
            for (int k = part; k < here; k += parts) {
                const T* value = values + static_cast<std::int64_t>(tile + k) * dim + 2 * pair;
                const float a = to_float(value[0]);
                const float b = 2 * pair + 1 < dim ? to_float(value[1]) : 0.0f;
#pragma unroll
                for (int g = 0; g < group; ++g) {
                    const float weight = weights[g * threads + k];
                    sum[g][0] = fmaf(weight, a, sum[g][0]);
                    sum[g][1] = fmaf(weight, b, sum[g][1]);
                }
            }
        }
        __syncthreads();
    }
    // 3. Parts together, then out: finished, or for the combination of splits.
#pragma unroll
    for (int g = 0; g < group; ++g) {
        sums[2 * threadIdx.x] = sum[g][0], sums[2 * threadIdx.x + 1] = sum[g][1];
        __syncthreads();
        for (int d = threadIdx.x; g < count && d < dim; d += threads) {
            float v = 0;
            for (int p = 0; p < parts; ++p) {
                v += sums[2 * (p * lanes + d / 2) + d % 2];
            }
            const std::int64_t head = first_head + g;
            if (call.splits == 1) {
                store_typed(call.out, row, head * dim + d, v / total[g]);
            } else {
                call.partial[((row * heads + head) * call.splits + split) * (dim + 2) + d] = v;
            }
        }
        if (call.splits > 1 && g < count && threadIdx.x == 0) {
            float* end_of = call.partial +
                            ((row * heads + first_head + g) * call.splits + split) * (dim + 2) +
                            dim;
            end_of[0] = top[g], end_of[1] = total[g];
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

template <class T, int group>
cudaError_t few_queries(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t per_kv = call.shape.heads / call.shape.kv_heads;
    const dim3 grid(static_cast<unsigned>(call.splits),
                    static_cast<unsigned>(call.shape.kv_heads * ((per_kv + group - 1) / group)),
                    static_cast<unsigned>(call.stretch.rows()));
    const std::size_t bytes =
        static_cast<std::size_t>(group * call.shape.head_dim + group * threads + 2 * threads) * 4;
    few_queries_kernel<T, group><<<grid, threads, bytes, stream>>>(call);
    if (call.splits > 1) {
        const dim3 rows(static_cast<unsigned>(call.stretch.rows()),
                        static_cast<unsigned>(call.shape.heads));
        combine_kernel<<<rows, 64, 0, stream>>>(call);
    }
    return cudaGetLastError();
}

template <class T>
cudaError_t few_queries(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t per_kv = call.shape.heads / call.shape.kv_heads;
    return per_kv == 1   ? few_queries<T, 1>(call, stream)
           : per_kv == 2 ? few_queries<T, 2>(call, stream)
           : per_kv <= 4 ? few_queries<T, 4>(call, stream)
                         : few_queries<T, 8>(call, stream);
}

}  // namespace

cudaError_t store_qkv(const AttentionCall& call, const float* qkv, bool paired, const float* cos,
                      const float* sin, cudaStream_t stream) {
    const std::int64_t heads = call.shape.heads + 2 * call.shape.kv_heads;
    const dim3 block = call.kv.type == KvType::i8 ? code_threads : store_threads;
    const dim3 grid(static_cast<unsigned>(call.stretch.rows()),
                    static_cast<unsigned>((heads + block.y - 1) / block.y));
    switch (call.kv.type) {
        case KvType::f32:
            store_qkv_kernel<float><<<grid, block, 0, stream>>>(call, qkv, paired, cos, sin);
            break;
        case KvType::f16:
            store_qkv_kernel<__half><<<grid, block, 0, stream>>>(call, qkv, paired, cos, sin);
            break;
        case KvType::i8:
            store_qkv_kernel<std::int8_t><<<grid, block, 0, stream>>>(call, qkv, paired, cos, sin);
            break;
        case KvType::e4m3:
            store_qkv_kernel<E4m3><<<grid, block, 0, stream>>>(call, qkv, paired, cos, sin);
            break;
    }
    return cudaGetLastError();
}

cudaError_t attend(const AttentionCall& call, cudaStream_t stream) {
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

}  // namespace bitsweep::device
