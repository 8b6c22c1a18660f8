#include "worker/inference/ceilings/kernels.h"

#include <cuda_fp16.h>

namespace bitsweep::ceilings {
namespace {

constexpr int fill_blocks = 1024;
constexpr int reads_in_flight = 8;  // 128 bytes a thread: 256 KiB on an SM of 2,048 threads, far
                                    // above bandwidth x latency (3 TB/s x 0.7 us / 132: 16 KiB)
constexpr int copies_in_flight = 4;

__device__ std::uint32_t mixed(std::uint64_t z) {
    z *= 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    return static_cast<std::uint32_t>(z ^ (z >> 31));
}

__device__ std::uint64_t first_index() {
    return blockIdx.x * static_cast<std::uint64_t>(blockDim.x) + threadIdx.x;
}

__device__ std::uint64_t index_stride() {
    return gridDim.x * static_cast<std::uint64_t>(blockDim.x);
}

__global__ void fill_words_kernel(std::uint32_t* to, std::uint64_t count) {
    for (std::uint64_t i = first_index(); i < count; i += index_stride()) {
        to[i] = mixed(i);
    }
}

__global__ void fill_halves_kernel(__half* to, std::uint64_t count) {
    for (std::uint64_t i = first_index(); i < count; i += index_stride()) {
        to[i] = __float2half(static_cast<float>(mixed(i) >> 8) * (1.0f / (1 << 23)) - 1.0f);
    }
}

__global__ void __launch_bounds__(threads_per_block)
    read_kernel(const uint4* from, std::uint64_t count, std::uint32_t* sink) {
    const std::uint64_t stride = index_stride();
    std::uint32_t sum = 0;
    std::uint64_t i = first_index();
    for (; i + (reads_in_flight - 1) * stride < count; i += reads_in_flight * stride) {
        uint4 words[reads_in_flight];
#pragma unroll
        for (int k = 0; k < reads_in_flight; ++k) {
            words[k] = __ldcs(from + i + k * stride);
        }
#pragma unroll
        for (int k = 0; k < reads_in_flight; ++k) {
            sum += words[k].x ^ words[k].y ^ words[k].z ^ words[k].w;
        }
    }
    for (; i < count; i += stride) {
        const uint4 word = __ldcs(from + i);
        sum += word.x ^ word.y ^ word.z ^ word.w;
    }
    if (sum == 0x12345678u) {
        *sink = sum;
    }
}

__global__ void __launch_bounds__(threads_per_block)
    copy_kernel(const uint4* from, uint4* to, std::uint64_t count) {
    const std::uint64_t stride = index_stride();
    std::uint64_t i = first_index();
    for (; i + (copies_in_flight - 1) * stride < count; i += copies_in_flight * stride) {
        uint4 words[copies_in_flight];
#pragma unroll
        for (int k = 0; k < copies_in_flight; ++k) {
            words[k] = __ldcs(from + i + k * stride);
        }
#pragma unroll
        for (int k = 0; k < copies_in_flight; ++k) {
            __stcs(to + i + k * stride, words[k]);
        }
    }
    for (; i < count; i += stride) {
        __stcs(to + i, __ldcs(from + i));
    }
}

__global__ void empty_kernel() {}

}  // namespace

cudaError_t fill_words(void* to, std::uint64_t bytes, cudaStream_t stream) {
    fill_words_kernel<<<fill_blocks, threads_per_block, 0, stream>>>(
        static_cast<std::uint32_t*>(to), bytes / sizeof(std::uint32_t));
    return cudaGetLastError();
}

cudaError_t fill_halves(void* to, std::uint64_t count, cudaStream_t stream) {
    fill_halves_kernel<<<fill_blocks, threads_per_block, 0, stream>>>(static_cast<__half*>(to),
                                                                      count);
    return cudaGetLastError();
}

cudaError_t read_all(const void* from, std::uint64_t bytes, int blocks, std::uint32_t* sink,
                     cudaStream_t stream) {
    read_kernel<<<blocks, threads_per_block, 0, stream>>>(static_cast<const uint4*>(from),
                                                          bytes / sizeof(uint4), sink);
    return cudaGetLastError();
}

cudaError_t copy_all(const void* from, void* to, std::uint64_t bytes, int blocks,
                     cudaStream_t stream) {
    copy_kernel<<<blocks, threads_per_block, 0, stream>>>(
        static_cast<const uint4*>(from), static_cast<uint4*>(to), bytes / sizeof(uint4));
    return cudaGetLastError();
}

cudaError_t empty(cudaStream_t stream) {
    empty_kernel<<<1, 32, 0, stream>>>();
    return cudaGetLastError();
}

}  // namespace bitsweep::ceilings
