#include "worker/inference/decode/choose.h"

namespace bitsweep::decode {
namespace {

constexpr int threads = 1024;

struct Choice {
    float value;
    std::int32_t index;
    std::int32_t bad;
};

__device__ __forceinline__ Choice better(Choice a, Choice b) {
    const bool second = b.value > a.value || (b.value == a.value && b.index < a.index);
    return {second ? b.value : a.value, second ? b.index : a.index, a.bad | b.bad};
}

__device__ __forceinline__ Choice of_warp(Choice mine) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        const Choice other = {__shfl_xor_sync(0xffffffffu, mine.value, offset),
                              __shfl_xor_sync(0xffffffffu, mine.index, offset),
                              __shfl_xor_sync(0xffffffffu, mine.bad, offset)};
        mine = better(mine, other);
    }
    return mine;
}

// One block a row.
__global__ void choose(const float* logits, std::int64_t vocabulary, std::int32_t* chosen,
                       std::int32_t* bad) {
    __shared__ Choice warps[threads / 32];
    const float* row = logits + blockIdx.x * vocabulary;
    Choice mine = {-INFINITY, INT32_MAX, 0};
    for (std::int64_t i = threadIdx.x; i < vocabulary; i += threads) {
        const float value = row[i];
        mine = better(mine, {value, static_cast<std::int32_t>(i), isfinite(value) ? 0 : 1});
    }
    mine = of_warp(mine);
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = mine;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        mine = of_warp(warps[threadIdx.x]);
        if (threadIdx.x == 0) {
            chosen[blockIdx.x] = mine.index < vocabulary ? mine.index : 0;
            bad[blockIdx.x] = mine.bad;
        }
    }
}

}  // namespace

cudaError_t choose_rows(const float* logits, std::int64_t rows, std::int64_t vocabulary,
                        std::int32_t* chosen, std::int32_t* bad, cudaStream_t stream) {
    choose<<<static_cast<unsigned>(rows), threads, 0, stream>>>(logits, vocabulary, chosen, bad);
    return cudaGetLastError();
}

}  // namespace bitsweep::decode
