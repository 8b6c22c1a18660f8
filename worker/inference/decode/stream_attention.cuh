// Attention of one new position over the cache: one head and one split of the sequence a block.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "worker/inference/decode/stream_inputs.cuh"

namespace bitsweep::decode {

__device__ __forceinline__ float round_to_half(float x) {
    return __half2float(__float2half(x));
}

// Online softmax of one group of lanes (head_dim / 8 lanes share a position).
struct Softmax {
    float best = -INFINITY, total = 0;
    float sum[8] = {};

    __device__ __forceinline__ void add(float score, const float* v) {
        const float top = fmaxf(best, score);
        const float keep = __expf(best - top), weight = __expf(score - top);
        best = top;
        total = total * keep + weight;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            sum[i] = fmaf(weight, v[i], sum[i] * keep);
        }
    }

    // Joins the groups of a warp; afterwards every lane holds its dimension's sums over the warp.
    __device__ __forceinline__ void join(int group) {
        for (int offset = group; offset < 32; offset *= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, best, offset);
            const float top = fmaxf(best, other);
            const float mine = best == -INFINITY ? 0.0f : __expf(best - top);
            const float theirs = other == -INFINITY ? 0.0f : __expf(other - top);
            total = total * mine + __shfl_xor_sync(0xffffffffu, total, offset) * theirs;
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                sum[i] = sum[i] * mine + __shfl_xor_sync(0xffffffffu, sum[i], offset) * theirs;
            }
            best = top;
        }
    }
};

__device__ __forceinline__ void unpack8(uint4 bits, float* to) {
    const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 f = half2_to_float2(words[i]);
        to[2 * i] = f.x;
        to[2 * i + 1] = f.y;
    }
}

// This lane's eight dimensions of `count` rows of the new position.
template <int count>
__device__ __forceinline__ void await_rows(const FloatWord* const (&rows)[count], int lane,
                                           std::uint32_t tag, float (&to)[count][8]) {
    uint4 words[4 * count];
    await_all(
        words, [&](int i) { return rows[i / 4] + lane * 8 + i % 4 * 2; },
        [&](uint4 w) { return has_tag(w, tag); });
#pragma unroll
    for (int i = 0; i < 4 * count; ++i) {
        const float2 pair = floats_of(words[i]);
        to[i / 4][i % 4 * 2] = pair.x;
        to[i / 4][i % 4 * 2 + 1] = pair.y;
    }
}

__device__ __forceinline__ void store8(std::uint16_t* to, const float* from) {
    auto* words = reinterpret_cast<__half2*>(to);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        words[i] = __floats2half2_rn(from[2 * i], from[2 * i + 1]);
    }
}

// 1. A task's query. 2. Cached positions, a group of lanes each. 3. The new position, whose key and
// value also go into the cache. 4. Join lanes, then warps. 5. Out.
__device__ __noinline__ void run_attention(const Program& p, const Attention& a, int position,
                                           std::uint32_t tag_in, std::uint32_t tag_out) {
    float* head_sums = shared_at<float>(Layout::head_sums(p));
    const int splits = split_count(p, position + 1);
    const int group = p.head_dim / 8;  // lanes a position: 4, 8, 16 or 32
    const int groups = stream_threads / group;
    const int mine = threadIdx.x / group, lane = threadIdx.x % group;
    const int share_heads = p.heads / p.kv_heads;
    for (int task = blockIdx.x; task < p.heads * splits; task += gridDim.x) {
        const int head = task % p.heads, split = task / p.heads, kv_head = head / share_heads;
        const bool windowed = a.sliding_window > 0 && position + 1 > a.sliding_window;
        const int from = windowed ? position + 1 - a.sliding_window : 0;
        const int share = (position - from + splits) / splits;
        const int begin = from + split * share, end = min(begin + share, position);
        // One warp takes the new position too: the shuffles want all its lanes.
        const bool newest = split == splits - 1 && threadIdx.x < 32;
        float now[3][8];  // query, key and value of the new position
        float(&q)[8] = now[0];
        Softmax softmax;
        const std::int64_t plane = static_cast<std::int64_t>(kv_head) * p.context;
        const auto cached = [&](const std::uint16_t* cache, int t) {
            const std::int64_t at = (plane + max(min(t, end - 1), 0)) * p.head_dim + lane * 8;
            return __ldcg(reinterpret_cast<const uint4*>(cache + at));
        };
        uint4 next_k = cached(a.k, begin + mine),
              next_v = cached(a.v, begin + mine);  // before the wait
        await_sentinel(a.qkv + head * p.head_dim + p.head_dim - 1, false, tag_in);
        stamp(p, 6);
        const FloatWord* const rows[3] = {a.qkv + head * p.head_dim,
                                          a.qkv + (p.heads + kv_head) * p.head_dim,
                                          a.qkv + (p.heads + p.kv_heads + kv_head) * p.head_dim};
        if (newest) {
            await_rows(rows, lane, tag_in, now);
        } else {
            float only[1][8];
            const FloatWord* const query[1] = {rows[0]};
            await_rows(query, lane, tag_in, only);
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                q[i] = only[0][i];
            }
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            q[i] *= a.scale;
        }
        for (int t = begin + mine; t - mine < end; t += groups) {
            float k[8], v[8];
            unpack8(next_k, k);
            unpack8(next_v, v);
            next_k = cached(a.k, t + groups);
            next_v = cached(a.v, t + groups);
            float score = 0;
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                score = fmaf(k[i], q[i], score);
            }
            for (int offset = group / 2; offset > 0; offset /= 2) {
                score += __shfl_xor_sync(0xffffffffu, score, offset);
            }
            if (t < end) {
                softmax.add(score, v);
            }
        }
        if (newest) {
            float(&k)[8] = now[1];
            float(&v)[8] = now[2];
            float score = 0;
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                k[i] = round_to_half(k[i]);
                v[i] = round_to_half(v[i]);
                score = fmaf(k[i], q[i], score);
            }
            for (int offset = group / 2; offset > 0; offset /= 2) {
                score += __shfl_xor_sync(0xffffffffu, score, offset);
            }
            if (threadIdx.x < group) {
                softmax.add(score, v);
                if (head % share_heads == 0) {
                    const std::int64_t at = (plane + position) * p.head_dim + lane * 8;
                    store8(a.k + at, k);
                    store8(a.v + at, v);  // choose_token's fence publishes them
                }
            }
        }
        stamp(p, 7);
        softmax.join(group);
        const int stride = p.head_dim + 2;
        float* sums = head_sums + threadIdx.x / 32 * stride;
        if (threadIdx.x % 32 < group) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                sums[lane * 8 + i] = softmax.sum[i];
            }
        }
        if (threadIdx.x % 32 == 0) {
            sums[p.head_dim] = softmax.best;
            sums[p.head_dim + 1] = softmax.total;
        }
        __syncthreads();
        FloatWord* out = a.partial + (static_cast<std::int64_t>(split) * p.heads + head) * stride;
        for (int i = threadIdx.x; i < p.head_dim + 1; i += stream_threads) {
            float best[stream_warps], top = -INFINITY, value = 0;
#pragma unroll
            for (int warp = 0; warp < stream_warps; ++warp) {
                best[warp] = head_sums[warp * stride + p.head_dim];
                top = fmaxf(top, best[warp]);
            }
            const int what = i == p.head_dim ? p.head_dim + 1 : i;
#pragma unroll
            for (int warp = 0; warp < stream_warps; ++warp) {
                const float keep = best[warp] == -INFINITY ? 0.0f : __expf(best[warp] - top);
                value = fmaf(head_sums[warp * stride + what], keep, value);
            }
            if (i < p.head_dim) {
                store_word(out + i, value, tag_out);
            } else {
                store_word(out + i, top, tag_out);
                store_word(out + i + 1, value, tag_out);
            }
        }
        __syncthreads();
    }
}

}  // namespace bitsweep::decode
