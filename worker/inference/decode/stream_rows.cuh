// The second half of a product: rows from the queue times the inputs, and what follows each row.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/decode/chunks.cuh"
#include "worker/inference/decode/stream_feed.cuh"
#include "worker/inference/decode/stream_inputs.cuh"

namespace bitsweep::decode {

__device__ __forceinline__ int warp_sum(int value) {
#if __CUDA_ARCH__ >= 800
    return __reduce_add_sync(0xffffffffu, value);
#else
    return device::sum_over_warp(value);
#endif
}

// The consumer half of a lane for one row: multiplies the chunks as they arrive.
template <Codes kind>
struct RowSum {
    float value = 0;    // sum of code times input
    float outlier = 0;  // i8_i8: sum of the outlier columns
    int integer = 0;    // i8_i8: exact sum of code times code

    // n: chunks of a row; `scale_word` holds the scale of the chunk's group, and maybe another.
    __device__ __forceinline__ void add(const std::uint32_t* lut, uint4 w, std::uint32_t scale_word,
                                        int chunk, int n, int scale_odd) {
        if constexpr (kind == Codes::f16) {
            value = dot8_f16(w, x_words()[chunk], value);
        } else if constexpr (kind == Codes::bf16) {
            value = dot8_bf16(w, x_words()[chunk], value);
        } else if constexpr (kind == Codes::i8) {
            value += dot16_i8(w, x_words()[chunk], x_words()[n + chunk]);
        } else if constexpr (kind == Codes::i8_i8) {
            const uint4 x = x_words()[chunk];
            integer = __dp4a(static_cast<int>(w.x), static_cast<int>(x.x), integer);
            integer = __dp4a(static_cast<int>(w.y), static_cast<int>(x.y), integer);
            integer = __dp4a(static_cast<int>(w.z), static_cast<int>(x.z), integer);
            integer = __dp4a(static_cast<int>(w.w), static_cast<int>(x.w), integer);
        } else {
            const uint4 x0 = x_words()[chunk], x1 = x_words()[n + chunk],
                        x2 = x_words()[2 * n + chunk], x3 = x_words()[3 * n + chunk];
            if constexpr (kind == Codes::i4_group) {
                const float part = dot32_i4(w, x0, x1, x2, x3);
                const std::uint32_t bits = scale_odd != 0 ? scale_word >> 16 : scale_word & 0xffffu;
                value = fmaf(part, __half2float(__ushort_as_half(bits)), value);
            } else {
                const float part = dot8_lut(w.x, x0, lut) + dot8_lut(w.y, x1, lut) +
                                   dot8_lut(w.z, x2, lut) + dot8_lut(w.w, x3, lut);
                value = fmaf(part, __uint_as_float(scale_word), value);
            }
        }
    }

    // This lane's chunks of the step at `from`, `at` in the queue. Behind the row's end a chunk of
    // zeros, with a scale of zero, meets the last inputs: no branch keeps one chunk from the next.
    __device__ __forceinline__ void add_step(const std::uint32_t* lut, int at, int from, int n,
                                             int scale_odd) {
        constexpr bool grouped = kind == Codes::i4_group || kind == Codes::lut4;
        uint4 w[stream_chunks];
        std::uint32_t scales[stream_chunks];
#pragma unroll
        for (int c = 0; c < stream_chunks; ++c) {
            const bool real = from + 32 * c + static_cast<int>(threadIdx.x % 32) < n;
            w[c] = {0, 0, 0, 0};
            scales[c] = 0;
            if (real) {
                w[c] = ring()[at + c * stream_threads];
                if constexpr (grouped) {
                    scales[c] = scale_ring()[at + c * stream_threads];
                }
            }
        }
#pragma unroll
        for (int c = 0; c < stream_chunks; ++c) {
            const int chunk = from + 32 * c + static_cast<int>(threadIdx.x % 32);
            add(lut, w[c], scales[c], min(chunk, n - 1), n, scale_odd);
        }
    }

    // The outlier columns of the step at chunk `from`, a lane each, from the queue's `place` of the
    // warp's lane 0. Their weight is the dequantised code rounded to half, as bitsandbytes
    // multiplies it.
    __device__ __forceinline__ void add_outliers(const OutlierInputs& inputs, int from, int count,
                                                 int place, float scale) {
        const auto* codes = reinterpret_cast<const std::int8_t*>(&ring()[place]);
        const std::uint16_t* columns = inputs.columns + from * 16;
        const __half* values = inputs.values + from * 16;
#pragma unroll 1
        for (int i = threadIdx.x % 32; i < count; i += 32) {
            const int column = columns[i];
            const float code = codes[column / 512 * (stream_threads * 16) + column % 512];
            const float weight = __half2float(__float2half(code * scale * 7.874015718698502e-3f));
            outlier = fmaf(weight, __half2float(values[column]), outlier);
        }
    }

    // `outliers`: of some lane, so that theirs are added up.
    __device__ float total(float row_scale, float bias, float activation_scale, bool outliers) {
        if (kind != Codes::i8_i8 || outliers) {
            float& lanes = kind == Codes::i8_i8 ? outlier : value;
            lanes = device::sum_over_warp(lanes);
        }
        if constexpr (kind == Codes::i8_i8) {
            integer = warp_sum(integer);
            const float scale = activation_scale * row_scale;
            const float inside = fmaf(static_cast<float>(integer) * scale, 6.200012e-05f, bias);
            return __half2float(__float2half(__half2float(__float2half(inside)) + outlier));
        }
        return fmaf(value, row_scale, bias);
    }
};

__device__ __forceinline__ float gelu_tanh(float x) {
    return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
}

__device__ __forceinline__ float gelu_erf(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
}

// What the epilogue of a unit needs besides its sums, loaded before the sums are ready.
struct Beside {
    float first = 1, second = 0;  // the residual, or cosine and sine of the rotary angle
};

__device__ __forceinline__ Beside load_beside(const Program& p, const Gemv& g, int unit,
                                              int position) {
    if (g.epilogue == Epilogue::residual) {
        return {__ldcg(&g.residual[unit].value), 0};
    }
    if (g.epilogue == Epilogue::qkv && p.rope_cos != nullptr) {
        const int half_dim = p.head_dim / 2;
        const std::int64_t at = static_cast<std::int64_t>(position) * half_dim + unit % half_dim;
        return {__ldg(&p.rope_cos[at]), __ldg(&p.rope_sin[at])};
    }
    return {};
}

// Rows 2u and 2u+1 of the fused q, k, v matrix are elements i and i + head_dim/2 of one head.
__device__ __forceinline__ void store_qkv(const Program& p, const Gemv& g, int unit, float a,
                                          float b, const Beside& beside, std::uint32_t tag) {
    const int half_dim = p.head_dim / 2;
    const int head = unit / half_dim, i = unit % half_dim;
    if (head < p.heads + p.kv_heads) {
        const float first = a * beside.first - b * beside.second;
        b = b * beside.first + a * beside.second;
        a = first;
    }
    auto* out = static_cast<FloatWord*>(g.out) + head * p.head_dim + i;
    store_word(out, a, tag);
    store_word(out + half_dim, b, tag);
}

// A float and a row as one integer that orders like (value, then smaller row first).
__device__ __forceinline__ std::uint64_t pack_best(float value, std::uint32_t row) {
    std::uint32_t bits = __float_as_uint(value);
    bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<std::uint64_t>(bits) << 32 | (0xffffffffu - row);
}

__device__ __forceinline__ void store_unit(const Program& p, const Gemv& g, int unit, float first,
                                           float second, const Beside& beside, std::uint32_t tag,
                                           std::uint64_t& best) {
    auto* activation = static_cast<HalfWord*>(g.out) + unit;
    switch (g.epilogue) {
        case Epilogue::residual:
            return store_word(static_cast<FloatWord*>(g.out) + unit, beside.first + first, tag);
        case Epilogue::gelu_tanh:
            return store_word(activation, gelu_tanh(first), tag);
        case Epilogue::gelu_erf:
            return store_word(activation, gelu_erf(first), tag);
        case Epilogue::relu:
            return store_word(activation, fmaxf(first, 0.0f), tag);
        case Epilogue::swiglu:
            return store_word(activation, first / (1.0f + __expf(-first)) * second, tag);
        case Epilogue::qkv:
            return store_qkv(p, g, unit, first, second, beside, tag);
        case Epilogue::logits: {
            static_cast<float*>(g.out)[unit] = first;
            const std::uint64_t mine = pack_best(first, static_cast<std::uint32_t>(unit));
            best = mine > best ? mine : best;
            return;
        }
    }
}

template <Codes kind>
__device__ __forceinline__ void run_units(const Program& program, const Gemv& g, const Feed& feed,
                                          Producer& producer, int& slot, int position,
                                          float activation_scale, std::uint32_t tag,
                                          std::uint64_t& best) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int unit = first_unit(feed, warp);
    const int rows_per_unit = g.rows_per_unit, units = units_of(feed);
    const int chunks = g.row_chunks, scales_per_row = feed.scales_per_row;
    const int lane_scale = lane >> feed.scale_shift;
    const bool has_scale = feed.row_scales != nullptr, has_bias = feed.bias != nullptr;
    const bool outliers = kind == Codes::i8_i8 && *any_outlier() != 0;
    const OutlierInputs outlier_inputs = outlier_inputs_of(program);
    const auto* lut = shared_at<std::uint32_t>(Layout::lut(program)) + lane;
    for (; unit < units; unit += grid_warps()) {
        const Beside beside = load_beside(program, g, unit, position);
        float first = 0, second = 0;
        for (int r = 0; r < rows_per_unit; ++r) {
            const int row = unit * rows_per_unit + r;
            const int scale_odd = (row * scales_per_row + lane_scale) & 1;
            RowSum<kind> sum;
            float row_scale = 1.0f / input_factor(kind), bias = 0;
            for (int from = 0; from < chunks; from += step_chunks) {
                const int here = outliers ? outlier_inputs.counts[from / step_chunks] : 0;
                device::wait_for_copies<stream_depth - 1>();
                const int at = slot * stream_chunks * stream_threads + threadIdx.x;
                if (from == 0) {
                    __syncwarp();  // lanes 0 and 1 brought the row's constants for all
                    const float* constants = &row_ring()[(slot * stream_warps + warp) * 2];
                    row_scale *= has_scale ? constants[0] : 1.0f;
                    bias = has_bias ? constants[1] : 0.0f;
                }
                if constexpr (kind == Codes::i8_i8) {
                    if (here != 0) {
                        __syncwarp();  // every lane's part of the step is there
                        sum.add_outliers(outlier_inputs, from, here, at - lane, row_scale);
                    }
                }
                sum.add_step(lut, at, from, chunks, scale_odd);
                if (from == 0 || here != 0) {
                    __syncwarp();  // before a lane's refill may overwrite what others read
                }
                producer.issue(slot);
                slot = slot + 1 == stream_depth ? 0 : slot + 1;
            }
            const float total = sum.total(row_scale, bias, activation_scale, outliers);
            first = r == 0 ? total : first;
            second = total;
        }
        if (lane == 0) {
            store_unit(program, g, unit, first, second, beside, tag, best);
        }
    }
}

}  // namespace bitsweep::decode
