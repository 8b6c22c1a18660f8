// Codes of every packing as floats, eight neighbouring weights at a time: what the kernels for few
// rows, the dequantisation and the embedding look-up share. The layouts are decode/program.h's.
//
// An Unpack<kind, bits> says
//   step      weights that one lane takes at once
//   Raw       their bits in registers: load(matrix, row, step index)
//   eight     weights [8 s, 8 s + 8) of a Raw, without their scale
//   scale     of those eight (1 where a scale belongs to the whole row or to nothing)
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "worker/inference/quant/fp8/e4m3.h"
#include "worker/inference/quant/shared/device_matrix.h"

namespace bitsweep::device {

using decode::Codes;

__device__ __forceinline__ const uint4* row_of(const DeviceMatrix& m, std::int64_t row) {
    return reinterpret_cast<const uint4*>(m.codes) + row * m.row_chunks;
}

__device__ __forceinline__ std::uint32_t word_of(const uint4& v, int i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

__device__ __forceinline__ float half_at(const void* scales, std::int64_t i) {
    return __half2float(static_cast<const __half*>(scales)[i]);
}

// log2 of the weights of a group or block, a power of two.
__device__ __forceinline__ int block_shift(const DeviceMatrix& m) {
    return 31 - __clz(m.group);
}

// The group of input k of a row; a group has at least 16 weights.
__device__ __forceinline__ std::int64_t group_of(const DeviceMatrix& m, std::int64_t row, int k) {
    return row * m.scales_per_row + (k >> block_shift(m));
}

__device__ __forceinline__ float group_scale(const DeviceMatrix& m, std::int64_t row, int k) {
    return half_at(m.scales, group_of(m, row, k));
}

template <Codes kind, int bits = 0>
struct Unpack;

template <>
struct Unpack<Codes::f32> {
    static constexpr int step = 8;
    struct Raw {
        uint4 a, b;
    };
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        const uint4* from = row_of(m, row) + 2 * i;
        const bool whole = 2 * i + 1 < m.row_chunks;
        return {__ldg(from), whole ? __ldg(from + 1) : uint4{0, 0, 0, 0}};
    }
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int,
                                 float* w) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            w[j] = __uint_as_float(word_of(raw.a, j));
            w[4 + j] = __uint_as_float(word_of(raw.b, j));
        }
    }
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) {
        return 1;
    }
};

template <>
struct Unpack<Codes::f16> {
    static constexpr int step = 8;
    using Raw = uint4;
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        return __ldg(row_of(m, row) + i);
    }
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int,
                                 float* w) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const std::uint32_t word = word_of(raw, j);
            const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&word));
            w[2 * j] = pair.x;
            w[2 * j + 1] = pair.y;
        }
    }
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) {
        return 1;
    }
};

template <>
struct Unpack<Codes::bf16> {
    static constexpr int step = 8;
    using Raw = uint4;
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        return __ldg(row_of(m, row) + i);
    }
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int,
                                 float* w) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            w[2 * j] = __uint_as_float(word_of(raw, j) << 16);
            w[2 * j + 1] = __uint_as_float(word_of(raw, j) & 0xffff0000u);
        }
    }
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) {
        return 1;
    }
};

// Signed bytes.
struct UnpackBytes {
    static constexpr int step = 16;
    using Raw = uint4;
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        return __ldg(row_of(m, row) + i);
    }
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int s,
                                 float* w) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const std::uint32_t word = word_of(raw, 2 * s + j / 4);
            w[j] = static_cast<float>(static_cast<std::int8_t>(word >> (8 * (j % 4))));
        }
    }
};

template <>
struct Unpack<Codes::i8> : UnpackBytes {
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) { return 1; }
};

template <>
struct Unpack<Codes::i8_i8> : UnpackBytes {
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) { return 1; }
};

template <>
struct Unpack<Codes::i8_group> : UnpackBytes {
    __device__ static float scale(const DeviceMatrix& m, std::int64_t row, int k) {
        return group_scale(m, row, k);
    }
};

// A code stands for 2^-8 of its value as a half with its bits; 256 times that is exact.
template <>
struct Unpack<Codes::e4m3> {
    static constexpr int step = 16;
    using Raw = uint4;
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        return __ldg(row_of(m, row) + i);
    }
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int s,
                                 float* w) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const std::uint32_t two = word_of(raw, 2 * s + j / 2) >> (16 * (j % 2));
            const std::uint32_t bytes = (two & 0xffu) | (two & 0xff00u) << 8;  // one in each half
            const std::uint32_t halves = (bytes & 0x00800080u) << 8 | (bytes & 0x007f007fu) << 7;
            const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&halves));
            w[2 * j] = pair.x * quant::e4m3::half_unit;
            w[2 * j + 1] = pair.y * quant::e4m3::half_unit;
        }
    }
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) {
        return 1;
    }
};

template <>
struct Unpack<Codes::i4_group> {
    static constexpr int step = 32;
    using Raw = uint4;
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        return __ldg(row_of(m, row) + i);
    }
    // Nibbles in the order 0 2 4 6 1 3 5 7 (decode/chunks.cuh).
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int s,
                                 float* w) {
        const std::uint32_t word = word_of(raw, s);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const int nibble = j / 2 + 4 * (j % 2);
            w[j] = static_cast<float>(static_cast<int>(word >> (4 * nibble) & 15u) - 8);
        }
    }
    __device__ static float scale(const DeviceMatrix& m, std::int64_t row, int k) {
        return group_scale(m, row, k);
    }
};

// The absmax of a block of a code book's weights, as nested_scale (block_scales.h).
__device__ __forceinline__ float block_scale(const DeviceMatrix& m, std::int64_t block) {
    const auto* floats = static_cast<const float*>(m.scales);
    if (m.scale_codes == nullptr) {
        return floats[block];
    }
    const float above = __ldg(m.code_book + 16 + m.scale_codes[block]);
    return __fadd_rn(__fmul_rn(above, floats[1 + block / 256]), floats[0]);
}

struct UnpackCodeBook {
    static constexpr int step = 32;
    using Raw = uint4;
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        return __ldg(row_of(m, row) + i);
    }
};

template <>
struct Unpack<Codes::lut4> : UnpackCodeBook {
    __device__ static void eight(const DeviceMatrix& m, const Raw& raw, std::int64_t, int, int s,
                                 float* w) {
        const std::uint32_t word = word_of(raw, s);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            w[j] = __ldg(m.code_book + (word >> (4 * j) & 15u));
        }
    }
    __device__ static float scale(const DeviceMatrix& m, std::int64_t row, int k) {
        return block_scale(m, row * m.scales_per_row + (k >> block_shift(m)));
    }
};

template <>
struct Unpack<Codes::lut4_flat> : UnpackCodeBook {
    __device__ static void eight(const DeviceMatrix& m, const Raw& raw, std::int64_t row, int k,
                                 int s, float* w) {
        const std::uint32_t word = word_of(raw, s);
        // Eight weights of a row lie in one block or two.
        const std::int64_t first = row * m.in_features + k;
        const std::int64_t last = first + min(8, m.in_features - k) - 1;
        const int shift = block_shift(m);
        const float left = block_scale(m, first >> shift), right = block_scale(m, last >> shift);
        const std::int64_t border = last >> shift << shift;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const float book = __ldg(m.code_book + (word >> (4 * j) & 15u));
            w[j] = first + j > last ? 0.0f : __fmul_rn(book, first + j < border ? left : right);
        }
    }
    __device__ static float scale(const DeviceMatrix&, std::int64_t, int) {
        return 1;
    }
};

// Bit planes: a lane takes 32 of the 128 weights of a unit, 4 `bits` bytes of it.
template <int bits>
struct Unpack<Codes::planes, bits> {
    static constexpr int step = 32;
    static constexpr bool four = (bits & 4) != 0, two = (bits & 2) != 0, one = (bits & 1) != 0;
    static constexpr int two_shift = four ? 4 : 0, one_shift = two_shift + (two ? 2 : 0);
    struct Raw {
        uint4 fours;
        uint2 twos;
        std::uint32_t ones;
    };
    __device__ static Raw load(const DeviceMatrix& m, std::int64_t row, int i) {
        const uint4* unit = row_of(m, row) + i / 4 * bits;
        const int quarter = i % 4;
        Raw raw{};
        if constexpr (four) {
            raw.fours = __ldg(unit + quarter);
            unit += 4;
        }
        if constexpr (two) {
            raw.twos = __ldg(reinterpret_cast<const uint2*>(unit) + quarter);
            unit += 2;
        }
        if constexpr (one) {
            raw.ones = __ldg(reinterpret_cast<const std::uint32_t*>(unit) + quarter);
        }
        return raw;
    }
    __device__ static void eight(const DeviceMatrix&, const Raw& raw, std::int64_t, int, int s,
                                 float* w) {
        const std::uint32_t fours = word_of(raw.fours, s);
        const std::uint32_t twos = (s < 2 ? raw.twos.x : raw.twos.y) >> (16 * (s % 2));
        const std::uint32_t ones = raw.ones >> (8 * s);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            std::uint32_t code = 0;
            if constexpr (four) {
                code = fours >> (4 * j) & 15u;
            }
            if constexpr (two) {
                code |= (twos >> (2 * j) & 3u) << two_shift;
            }
            if constexpr (one) {
                code |= (ones >> j & 1u) << one_shift;
            }
            w[j] = static_cast<float>(static_cast<int>(code) - (1 << (bits - 1)));
        }
    }
    __device__ static float scale(const DeviceMatrix& m, std::int64_t row, int k) {
        return group_scale(m, row, k);
    }
};

// Codes in groups that may have zeros: code - zero, in steps. Asked at run time: the kernels of
// every width twice would double the longest compilation of the project.
template <class Weights>
struct InGroups : Weights {
    __device__ static void eight(const DeviceMatrix& m, const typename Weights::Raw& raw,
                                 std::int64_t row, int k, int s, float* w) {
        Weights::eight(m, raw, row, k, s, w);
        if (m.zeros == nullptr) {
            return;
        }
        const float zero = half_at(m.zeros, group_of(m, row, k));
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            w[j] -= zero;
        }
    }
};

// What a row's scale becomes as the factor of its codes.
enum class RowFactor {
    none,        // there is none
    scale,       // int8, fp8-channel
    first,       // fp8: the scale of row 0 is that of all
    by_127,      // w8a8: absmax / 127
    by_inverse,  // llmint8: absmax * 7.874015718698502e-3f
};

__device__ __forceinline__ float row_factor(const DeviceMatrix& m, RowFactor factor,
                                            std::int64_t row) {
    if (factor == RowFactor::none) {
        return 1;
    }
    const auto* scales = static_cast<const float*>(m.scales);
    const float scale = scales[factor == RowFactor::first ? 0 : row];
    return factor == RowFactor::scale || factor == RowFactor::first ? scale
           : factor == RowFactor::by_127                            ? __fdiv_rn(scale, 127.0f)
                                         : __fmul_rn(scale, 7.874015718698502e-3f);
}

}  // namespace bitsweep::device
