// Reductions over the lanes of a warp. Every lane of the warp calls them and every lane has the
// result. The order of a sum is part of a kernel's numbers: it is what the name says, not a choice.
#pragma once

namespace bitsweep::device {

inline constexpr unsigned whole_warp = 0xffffffffu;

// Over each `lanes` neighbours (a power of two), those half of them apart first.
template <int lanes = 32, class T, class Op>
__device__ __forceinline__ T over_warp(T value, Op op) {
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
        value = op(value, __shfl_xor_sync(whole_warp, value, offset));
    }
    return value;
}

template <int lanes = 32, class T>
__device__ __forceinline__ T sum_over_warp(T value) {
    return over_warp<lanes>(value, [](T a, T b) { return a + b; });
}

__device__ __forceinline__ float max_over_warp(float value) {
    return over_warp(value, [](float a, float b) { return fmaxf(a, b); });
}

__device__ __forceinline__ float min_over_warp(float value) {
    return over_warp(value, [](float a, float b) { return fminf(a, b); });
}

// Over the four neighbours that hold a row of a matrix product's fragment, neighbours first.
__device__ __forceinline__ float sum_over_quad(float value) {
    value += __shfl_xor_sync(whole_warp, value, 1);
    return value + __shfl_xor_sync(whole_warp, value, 2);
}

__device__ __forceinline__ float max_over_quad(float value) {
    value = fmaxf(value, __shfl_xor_sync(whole_warp, value, 1));
    return fmaxf(value, __shfl_xor_sync(whole_warp, value, 2));
}

}  // namespace bitsweep::device
