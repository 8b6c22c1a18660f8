// 16 bytes of codes times the matching inputs, for every packing: the arithmetic of a decode GEMV.
//
// Inputs lie in shared memory as 16-bit floats, transposed so that neighbouring lanes read
// neighbouring 16-byte words: word j of chunk c is x_words[j * chunks + c] and holds inputs
// [c * W + 8 j, + 8). Sums are float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "worker/inference/decode/program.h"

namespace bitsweep::decode {

__device__ __forceinline__ float2 half2_to_float2(std::uint32_t bits) {
    return __half22float2(*reinterpret_cast<const __half2*>(&bits));
}

// Eight products of 16-bit pairs.
__device__ __forceinline__ float dot8_f16(uint4 w, uint4 x, float sum) {
    const std::uint32_t ws[4] = {w.x, w.y, w.z, w.w}, xs[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 a = half2_to_float2(ws[i]), b = half2_to_float2(xs[i]);
        sum = fmaf(a.x, b.x, sum);
        sum = fmaf(a.y, b.y, sum);
    }
    return sum;
}

__device__ __forceinline__ float dot8_bf16(uint4 w, uint4 x, float sum) {
    const std::uint32_t ws[4] = {w.x, w.y, w.z, w.w}, xs[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 b = half2_to_float2(xs[i]);
        sum = fmaf(__uint_as_float(ws[i] << 16), b.x, sum);
        sum = fmaf(__uint_as_float(ws[i] & 0xffff0000u), b.y, sum);
    }
    return sum;
}

__device__ __forceinline__ __half2 as_half2(std::uint32_t bits) {
    return *reinterpret_cast<const __half2*>(&bits);
}

// Sum of the two halves in float32.
__device__ __forceinline__ float sum_of(__half2 pair) {
    const float2 f = __half22float2(pair);
    return f.x + f.y;
}

// Sixteen int8 codes: a byte under the exponent of 1024 is 1024 + code + 128, exactly, in half
// precision; four products a chain are summed in half, the rest in float32.
__device__ __forceinline__ float dot16_i8(uint4 w, uint4 a, uint4 b) {
    const std::uint32_t ws[4] = {w.x, w.y, w.z, w.w};
    const std::uint32_t xs[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    const __half2 bias = __half2half2(__ushort_as_half(0x6480));  // 1024 + 128
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        __half2 chain = __half2half2(__ushort_as_half(0));
#pragma unroll
        for (int j = i; j < i + 2; ++j) {
            const std::uint32_t biased = ws[j] ^ 0x80808080u;
            const __half2 low = __hsub2(as_half2(__byte_perm(biased, 0x64646464u, 0x4140)), bias);
            const __half2 high = __hsub2(as_half2(__byte_perm(biased, 0x64646464u, 0x4342)), bias);
            chain = __hfma2(low, as_half2(xs[2 * j]), chain);
            chain = __hfma2(high, as_half2(xs[2 * j + 1]), chain);
        }
        sum += sum_of(chain);
    }
    return sum;
}

// Eight 4-bit codes of `word`, stored in nibble order 0 2 4 6 1 3 5 7 so that one mask yields the
// pair (2i, 2i + 1): under the exponent of 1024 a code in bits 0..3 is 1024 + code, in bits 4..7
// 1024 + 16 code, exactly.
__device__ __forceinline__ __half2 dot8_i4(std::uint32_t word, uint4 x, __half2 chain) {
    const __half2 bias = __half2half2(__ushort_as_half(0x6408));       // 1024 + 8
    const __half2 bias_high = __half2half2(__ushort_as_half(0xd480));  // -(64 + 8)
    const __half2 sixteenth = __half2half2(__ushort_as_half(0x2c00));  // 1 / 16
    const std::uint32_t upper = word >> 8;
    const __half2 w0 = __hsub2(as_half2((word & 0x000f000fu) | 0x64006400u), bias);
    const __half2 w1 = __hfma2(as_half2((word & 0x00f000f0u) | 0x64006400u), sixteenth, bias_high);
    const __half2 w2 = __hsub2(as_half2((upper & 0x000f000fu) | 0x64006400u), bias);
    const __half2 w3 = __hfma2(as_half2((upper & 0x00f000f0u) | 0x64006400u), sixteenth, bias_high);
    chain = __hfma2(w0, as_half2(x.x), chain);
    chain = __hfma2(w1, as_half2(x.y), chain);
    chain = __hfma2(w2, as_half2(x.z), chain);
    return __hfma2(w3, as_half2(x.w), chain);
}

__device__ __forceinline__ float dot32_i4(uint4 w, uint4 x0, uint4 x1, uint4 x2, uint4 x3) {
    const __half2 zero = __half2half2(__ushort_as_half(0));
    return sum_of(dot8_i4(w.x, x0, zero)) + sum_of(dot8_i4(w.y, x1, zero)) +
           sum_of(dot8_i4(w.z, x2, zero)) + sum_of(dot8_i4(w.w, x3, zero));
}

// Eight 4-bit codes of `word` in natural pairs (byte i holds codes 2i, 2i + 1), through a table of
// all 256 pairs that has a column for each lane: no bank conflicts. lut is [256][32] half2.
__device__ __forceinline__ float dot8_lut(std::uint32_t word, uint4 x,
                                          const std::uint32_t* lut_lane) {
    const std::uint32_t xs[4] = {x.x, x.y, x.z, x.w};
    __half2 chain = __half2half2(__ushort_as_half(0));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        chain =
            __hfma2(as_half2(lut_lane[((word >> (8 * i)) & 0xffu) * 32]), as_half2(xs[i]), chain);
    }
    return sum_of(chain);
}

}  // namespace bitsweep::decode
