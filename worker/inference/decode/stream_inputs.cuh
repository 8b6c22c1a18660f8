// The first half of a product: waiting for the input vector, normalising it, and laying it out in
// shared memory in the form that the codes want.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/decode/chunks.cuh"
#include "worker/inference/decode/stream_feed.cuh"

namespace bitsweep::decode {

// One lane of the warp waits for a pair that stands for its neighbours; the others sleep at the
// warp's barrier. Without this, early blocks' polling fills the second-level cache's bandwidth.
__device__ __forceinline__ void await_sentinel(const void* words, bool half, std::uint32_t tag) {
    if (threadIdx.x % 32 == 0) {
        const std::uint32_t want = half ? tag << 16 : tag, mask = half ? 0xffff0000u : 0xffffffffu;
        std::uint32_t first, second;
        for (;;) {
            asm volatile("ld.relaxed.gpu.global.v2.u32 {%0, %1}, [%2];"
                         : "=r"(first), "=r"(second)
                         : "l"(words)
                         : "memory");
            if ((second & mask) == want) {
                break;
            }
            __nanosleep(20);
        }
    }
    __syncwarp();
}

__device__ __forceinline__ uint4 load_words(const void* words) {
    uint4 w;
    asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
                 : "l"(words)
                 : "memory");
    return w;
}

// Two neighbouring float words, or four half words, carry `tag`.
__device__ __forceinline__ bool has_tag(uint4 w, std::uint32_t tag) {
    return w.y == tag && w.w == tag;
}
__device__ __forceinline__ bool has_half_tag(uint4 w, std::uint32_t tag) {
    return ((w.x ^ tag << 16 | w.y ^ tag << 16 | w.z ^ tag << 16 | w.w ^ tag << 16) >> 16) == 0;
}
__device__ __forceinline__ float2 floats_of(uint4 w) {
    return {__uint_as_float(w.x), __uint_as_float(w.z)};
}

// `count` runs of words at from(i), once all of them carry their tag. All are asked for before one
// is looked at: a look each would cost a trip to the second-level cache each.
template <int count, class From, class Ready>
__device__ __forceinline__ void await_all(uint4 (&to)[count], From from, Ready ready) {
    bool all = false;
    while (!all) {
#pragma unroll
        for (int i = 0; i < count; ++i) {
            to[i] = load_words(from(i));
        }
        all = true;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            all = all && ready(to[i]);
        }
    }
}

// Two neighbouring float words, once both carry `tag`.
__device__ __forceinline__ float2 await_pair(const FloatWord* words, std::uint32_t tag) {
    uint4 w[1];
    await_all(
        w, [&](int) { return words; }, [&](uint4 v) { return has_tag(v, tag); });
    return floats_of(w[0]);
}

__device__ __forceinline__ void store_word(FloatWord* to, float value, std::uint32_t tag) {
    asm volatile("st.relaxed.gpu.global.v2.u32 [%0], {%1, %2};" ::"l"(to),
                 "r"(__float_as_uint(value)), "r"(tag)
                 : "memory");
}

__device__ __forceinline__ void store_word(HalfWord* to, float value, std::uint32_t tag) {
    const std::uint32_t bits = __half_as_ushort(__float2half(value)) | tag << 16;
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(bits) : "memory");
}

// Sums of two values over the block; one barrier, `scratch` [2 * warps] must be free.
__device__ __forceinline__ float2 block_sums(float2 value, float* scratch) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        value.x += __shfl_xor_sync(0xffffffffu, value.x, offset);
        value.y += __shfl_xor_sync(0xffffffffu, value.y, offset);
    }
    if (threadIdx.x % 32 == 0) {
        reinterpret_cast<float2*>(scratch)[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float2 total = {0, 0};
#pragma unroll
    for (int warp = 0; warp < stream_warps; ++warp) {
        const float2 one = reinterpret_cast<const float2*>(scratch)[warp];
        total.x += one.x;
        total.y += one.y;
    }
    return total;
}

__device__ __forceinline__ std::uint32_t warp_max(std::uint32_t value) {
#if __CUDA_ARCH__ >= 800
    return __reduce_max_sync(0xffffffffu, value);
#else
    return device::over_warp(value, [](std::uint32_t a, std::uint32_t b) { return max(a, b); });
#endif
}

// The largest magnitude, as its bits, and whether there is an outlier.
struct Largest {
    std::uint32_t bits;
    bool outlier;
};

// Over the block; `scratch` [warps] must be free. What was stored before is there after it.
__device__ __forceinline__ Largest over_block(Largest mine, float* scratch) {
    constexpr std::uint32_t flag = 0x80000000u;  // a magnitude has no sign
    auto* words = reinterpret_cast<std::uint32_t*>(scratch);
    const std::uint32_t largest = warp_max(mine.bits);
    const bool outlier = __any_sync(0xffffffffu, mine.outlier);
    if (threadIdx.x % 32 == 0) {
        words[threadIdx.x / 32] = largest | (outlier ? flag : 0);
    }
    __syncthreads();
    const std::uint32_t word = words[threadIdx.x % stream_warps];
    return {warp_max(word & ~flag), __any_sync(0xffffffffu, (word & flag) != 0) != 0};
}

// Of i8_i8: inputs at or above the threshold, by the step of a row that brings their weights, in
// order of the columns, so that sums do not depend on who came first.
struct OutlierInputs {
    std::uint32_t* bits;     // [steps][step_columns / 32] one for each input that is one
    std::uint16_t* columns;  // [steps][step_columns] of the step
    __half* values;          // [in_features] set where the bit is
    int* counts;             // [steps] columns
};

__device__ __forceinline__ OutlierInputs outlier_inputs_of(const Program& p) {
    return {shared_at<std::uint32_t>(Layout::outlier_bits(p)),
            shared_at<std::uint16_t>(Layout::outlier_columns(p)),
            shared_at<__half>(Layout::outlier_values(p)),
            shared_at<int>(Layout::outlier_counts(p))};
}

__device__ __forceinline__ int split_count(const Program& program, int length) {
    const int wanted = (length + 127) / 128;
    return wanted < program.splits ? wanted : program.splits;
}

// A thread's share of the input vector, in registers: `quads` runs of four neighbouring values.
template <int quads>
struct Inputs {
    float value[quads][4];
    int n;

    __device__ __forceinline__ int at(int j) const {
        return (j * stream_threads + threadIdx.x) * 4;
    }

    template <class Body>
    __device__ __forceinline__ void each(Body body) {
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            if (at(j) < n) {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    body(value[j][e], at(j) + e);
                }
            }
        }
    }

    __device__ __forceinline__ void load(const Program& p, const Gemv& g, int position,
                                         std::uint32_t tag) {
        const bool normed = g.prologue == Prologue::rms_norm || g.prologue == Prologue::layer_norm;
        if (normed) {
            return load_normed(p, g, tag);
        }
        const int splits = split_count(p, position + 1);
        for (int j = 0; j < quads; ++j) {
            const int last = min((j * stream_threads + threadIdx.x / 32 * 32 + 32) * 4, n) - 2;
            if (last < (j * stream_threads + threadIdx.x / 32 * 32) * 4) {
                break;
            }
            if (g.prologue == Prologue::attention) {
                const auto* words = static_cast<const FloatWord*>(g.input) +
                                    (last / p.head_dim + (splits - 1) * p.heads) * (p.head_dim + 2);
                await_sentinel(words + p.head_dim, false, tag);
            } else {
                await_sentinel(static_cast<const HalfWord*>(g.input) + last, true, tag);
            }
        }
        stamp(p, 6);
        if (g.prologue == Prologue::attention) {
            load_attention(p, static_cast<const FloatWord*>(g.input), splits, tag);
        } else {
            load_halves(static_cast<const HalfWord*>(g.input), tag & 0xffffu);
        }
    }

    // Outputs of an activation function.
    __device__ __forceinline__ void load_halves(const HalfWord* input, std::uint32_t tag) {
        uint4 words[quads];
        await_all(
            words, [&](int j) { return input + min(at(j), n - 4); },
            [&](uint4 w) { return has_half_tag(w, tag); });
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            const std::uint32_t w[4] = {words[j].x, words[j].y, words[j].z, words[j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                value[j][e] =
                    __half2float(__ushort_as_half(static_cast<unsigned short>(w[e] & 0xffffu)));
            }
        }
    }

    // The attention's result: partial sums of every split, weighted. Four neighbouring values are
    // of one head.
    __device__ __forceinline__ void load_attention(const Program& p, const FloatWord* partial,
                                                   int splits, std::uint32_t tag) {
        const int stride = p.head_dim + 2;
        for (int j = 0; j < quads; ++j) {
            const int i = min(at(j), n - 4), head = i / p.head_dim, inside = i % p.head_dim;
            float best = -INFINITY, weight = 0, sum[4] = {0, 0, 0, 0};
            for (int s = 0; s < splits; ++s) {
                const FloatWord* words =
                    partial + (static_cast<std::int64_t>(s) * p.heads + head) * stride;
                uint4 w[3];
                await_all(
                    w, [&](int k) { return words + (k == 0 ? p.head_dim : inside + 2 * (k - 1)); },
                    [&](uint4 v) { return has_tag(v, tag); });
                const float2 ml = floats_of(w[0]), a = floats_of(w[1]), b = floats_of(w[2]);
                const float top = fmaxf(best, ml.x);
                const float keep = __expf(best - top), now = __expf(ml.x - top);
                const float part[4] = {a.x, a.y, b.x, b.y};
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    sum[e] = sum[e] * keep + part[e] * now;
                }
                weight = weight * keep + ml.y * now;
                best = top;
            }
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                value[j][e] = sum[e] / weight;
            }
        }
    }

    __device__ __forceinline__ void load_normed(const Program& p, const Gemv& g,
                                                std::uint32_t tag) {
        const bool layer_norm = g.prologue == Prologue::layer_norm;
        float4 weight[quads], bias[quads];  // asked for before the wait
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            weight[j] = bias[j] = {0, 0, 0, 0};
            if (at(j) < n) {
                weight[j] = __ldg(reinterpret_cast<const float4*>(g.norm_weight + at(j)));
                if (layer_norm) {
                    bias[j] = __ldg(reinterpret_cast<const float4*>(g.norm_bias + at(j)));
                }
            }
        }
        float2 sums = {0, 0};
        for (int j = 0; j < quads; ++j) {
            const int first = (j * stream_threads + threadIdx.x / 32 * 32) * 4;
            if (first < n) {
                const auto* words = static_cast<const FloatWord*>(g.input);
                await_sentinel(words + min(first + 128, n) - 1, false, tag);
            }
        }
        stamp(p, 6);
        uint4 words[2 * quads];
        await_all(
            words,
            [&](int k) {
                return static_cast<const FloatWord*>(g.input) + min(at(k / 2), n - 4) + k % 2 * 2;
            },
            [&](uint4 w) { return has_tag(w, tag); });
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            const float2 a = floats_of(words[2 * j]), b = floats_of(words[2 * j + 1]);
            value[j][0] = a.x, value[j][1] = a.y, value[j][2] = b.x, value[j][3] = b.y;
            if (at(j) < n) {
                sums.x += (a.x + a.y) + (b.x + b.y);
                sums.y += a.x * a.x + a.y * a.y + b.x * b.x + b.y * b.y;
            }
        }
        sums = block_sums(sums, scratch());
        const float mean = layer_norm ? sums.x / n : 0.0f;
        const float scale = rsqrtf(fmaxf(sums.y / n - mean * mean, 0.0f) + g.norm_eps);
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            const float w[4] = {weight[j].x, weight[j].y, weight[j].z, weight[j].w};
            const float b[4] = {bias[j].x, bias[j].y, bias[j].z, bias[j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                value[j][e] = (value[j][e] - mean) * scale * w[e] + b[e];
            }
        }
    }

    // Inputs as half, times `factor`, in the order of chunks.cuh.
    __device__ __forceinline__ void store_half(const Gemv& g, float factor) {
        const int w = weights_per_chunk(g.kind), shift = w == 8 ? 3 : w == 16 ? 4 : 5;
        auto* half = reinterpret_cast<__half*>(x_words());
        const auto place = [&](int i) {
            const int chunk = i >> shift, inside = i & (w - 1);
            return ((inside >> 3) * g.row_chunks + chunk) * 8 + (inside & 7);
        };
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            if (at(j) < n) {
                auto* to = reinterpret_cast<__half2*>(half + place(at(j)));
                to[0] = __floats2half2_rn(value[j][0] * factor, value[j][1] * factor);
                to[1] = __floats2half2_rn(value[j][2] * factor, value[j][3] * factor);
            }
        }
        for (int i = n + threadIdx.x; i < g.row_chunks * w; i += stream_threads) {
            half[place(i)] = __float2half(0.0f);
        }
    }

    // Inputs rounded to 8 bits by the largest value below the threshold, which is returned; inputs
    // at or above it count as 0 and are kept apart (LLM.int8, one row). Magnitudes order as their
    // bits do, a NaN above all. Threads behind the last input hold others' again.
    __device__ __forceinline__ float store_codes(const Program& p, const Gemv& g) {
        const bool split = g.threshold > 0;
        const float threshold = split ? g.threshold : NAN;  // which nothing reaches
        const OutlierInputs apart = outlier_inputs_of(p);
        Largest largest{0, false};
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            std::uint32_t bits = 0;
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                float& v = value[j][e];
                const __half half = __float2half(v);
                v = __half2float(half);
                if (fabsf(v) >= threshold) {
                    bits |= at(j) < n ? 1u << (at(j) % 32 + e) : 0;
                    apart.values[min(at(j), n - 4) + e] = half;
                    v = 0;
                }
                largest.bits = max(largest.bits, __float_as_uint(fabsf(v)));
            }
            largest.outlier = largest.outlier || bits != 0;
            if (split) {
                store_bits(apart, j, bits);
            }
        }
        largest = over_block(largest, scratch() + 32);
        if (largest.outlier) {
            list_columns(apart);
        }
        if (threadIdx.x == 0) {
            *any_outlier() = largest.outlier ? 1 : 0;
        }
        const float absmax = __uint_as_float(largest.bits);
        const float scale = absmax > 0 ? 127.0f / absmax : 0;
        auto* codes = reinterpret_cast<std::uint32_t*>(x_words());
#pragma unroll
        for (int j = 0; j < quads; ++j) {
            std::uint32_t word = 0;
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int code = __float2int_rn(value[j][e] * scale);
                word |= (static_cast<std::uint32_t>(code) & 0xffu) << (8 * e);
            }
            if (at(j) < n) {
                codes[at(j) / 4] = word;
            }
        }
        auto* bytes = reinterpret_cast<std::int8_t*>(x_words());
        for (int i = n + threadIdx.x; i < g.row_chunks * 16; i += stream_threads) {
            bytes[i] = 0;
        }
        return absmax;
    }

    __device__ __forceinline__ int steps() const {
        return (n + step_columns - 1) / step_columns;
    }

    // Eight neighbouring threads hold a word.
    __device__ __forceinline__ void store_bits(const OutlierInputs& to, int j, std::uint32_t bits) {
#pragma unroll
        for (int offset = 1; offset < 8; offset *= 2) {
            bits |= __shfl_xor_sync(0xffffffffu, bits, offset);
        }
        if (threadIdx.x % 8 == 0 && at(j) < steps() * step_columns) {
            to.bits[at(j) / 32] = bits;
        }
    }

    // Of all bits; a warp a step, a lane a word of each 1,024 columns.
    __device__ __forceinline__ void list_columns(const OutlierInputs& to) {
        static_assert(step_columns % 1024 == 0);
        const int lane = threadIdx.x % 32;
        for (int step = threadIdx.x / 32; step < steps(); step += stream_warps) {
            std::uint16_t* columns = to.columns + step * step_columns;
            int count = 0;
            for (int first = 0; first < step_columns; first += 1024) {
                std::uint32_t bits = to.bits[(step * step_columns + first) / 32 + lane];
                int upto = __popc(bits);
#pragma unroll
                for (int offset = 1; offset < 32; offset *= 2) {
                    const int other = __shfl_up_sync(0xffffffffu, upto, offset);
                    upto += lane >= offset ? other : 0;
                }
                std::uint16_t* next = columns + count + upto - __popc(bits);
                for (; bits != 0; bits &= bits - 1) {
                    const int inside = __ffs(static_cast<int>(bits)) - 1;
                    *next++ = static_cast<std::uint16_t>(first + lane * 32 + inside);
                }
                count += __shfl_sync(0xffffffffu, upto, 31);
            }
            if (lane == 0) {
                to.counts[step] = count;
            }
        }
    }
};

// Half inputs are scaled by a power of two where products are summed in half precision, so that an
// input of 30,000 times the largest code stays in range; the row's scale undoes it.
__device__ constexpr float input_factor(Codes kind) {
    return kind == Codes::i8                                ? 1.0f / 256
           : kind == Codes::i4_group || kind == Codes::lut4 ? 1.0f / 64
                                                            : 1.0f;
}

template <int quads>
__device__ __noinline__ float prepare(const Program& program, const Gemv& g, int position,
                                      std::uint32_t tag) {
    Inputs<quads> inputs;
    inputs.n = g.in_features;
    inputs.load(program, g, position, tag);
    if (g.kind == Codes::i8_i8) {
        return inputs.store_codes(program, g);
    }
    inputs.store_half(g, input_factor(g.kind));
    return 0;
}

// Returns the activation scale of i8_i8 (absmax of the values below the threshold), else 0.
__device__ __forceinline__ float prepare_inputs(const Program& program, const Gemv& g, int position,
                                                std::uint32_t tag) {
    const int quads = (g.in_features + 4 * stream_threads - 1) / (4 * stream_threads);
    if (quads <= 1) {
        return prepare<1>(program, g, position, tag);
    }
    if (quads <= 2) {
        return prepare<2>(program, g, position, tag);
    }
    return quads <= 4 ? prepare<4>(program, g, position, tag)
                      : prepare<8>(program, g, position, tag);
}

}  // namespace bitsweep::decode
