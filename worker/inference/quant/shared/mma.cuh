// One tensor-core product of halves with float sums, on every architecture from sm_75 on.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace bitsweep::device {

__device__ __forceinline__ std::uint32_t pack_halves(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// d[16 x 8] += a[16 x 16] b[16 x 8]: lane (g, t) = (lane / 4, lane % 4) holds a rows g and g + 8,
// columns 2t, 2t + 1 (a[0], a[1]) and 8 + those (a[2], a[3]); b rows likewise of column g; d rows
// g, g + 8, columns 2t, 2t + 1.
__device__ __forceinline__ void multiply_tile(float* d, const std::uint32_t* a, std::uint32_t b0,
                                              std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    const std::uint32_t b[2] = {b0, b1};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
    }
#endif
}

}  // namespace bitsweep::device
