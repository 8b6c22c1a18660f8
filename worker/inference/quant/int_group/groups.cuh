// Codes in groups on a CUDA device: the form of each width, and its layer.
#pragma once

#include <cuda_fp16.h>

#include "worker/inference/quant/int_group/int_group.h"
#include "worker/inference/quant/shared/device_layer.h"

namespace bitsweep::quant {

// B-bit codes with a scale per group; 8-bit codes are stored signed.
inline DeviceFormat group_format(const MethodId& method, GroupZeros zeros = GroupZeros::no) {
    const int bits = method.weight_bits;
    const decode::Codes kind = bits == 4   ? decode::Codes::i4_group
                               : bits == 8 ? decode::Codes::i8_group
                                           : decode::Codes::planes;
    return {.kind = kind, .bits = bits, .group = method.group, .zeros = zeros == GroupZeros::yes};
}

// The layer of a packed body, with zeros or without (groups_cuda.cu).
std::unique_ptr<Linear> make_groups(DeviceBody body);

// The groups of consecutive rows on the device, for a kernel whose warps take one each.
struct GroupChunk {
    PackChunk chunk;
    int bits;
    int group;
    int groups;      // of a row
    __half* scales;  // [rows of the weight][groups]
    __half* zeros;   // likewise, or null
};

// A layer with zeros whose kernel<<<blocks, 128>>>(chunk) takes four groups a block
// (groups_cuda.cu).
using GroupKernel = void (*)(GroupChunk);
PackResult pack_groups_cuda(const DenseWeight& weight, const MethodOptions& options,
                            CudaBackend& backend, GroupKernel kernel);

// What a warp's lanes know of the group that is theirs.
struct GroupOfWarp {
    std::int64_t row;     // inside the chunk; beyond its rows: there is no such group
    int g;                // the group inside the row
    std::int64_t begin;   // of its first value inside the chunk
    int count;            // of values
    std::int64_t stored;  // where its scale and zero go
};

__device__ __forceinline__ GroupOfWarp group_of_warp(const GroupChunk& job) {
    const std::int64_t at =
        static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    const std::int64_t row = at / job.groups;
    const int g = static_cast<int>(at % job.groups);
    const std::int64_t first = static_cast<std::int64_t>(g) * job.group;
    return {row, g, row * job.chunk.in + first,
            static_cast<int>(min(static_cast<std::int64_t>(job.group), job.chunk.in - first)),
            (job.chunk.first_row + row) * job.groups + g};
}

// The codes of a group by its stored scale and zero; a lane takes every 32nd. Refuses a scale that
// is infinite.
__device__ __forceinline__ void store_group(const GroupChunk& job, const GroupOfWarp& at,
                                            __half scale_half, __half zero_half) {
    const float scale = __half2float(scale_half), zero = __half2float(zero_half);
    const float offset = static_cast<float>(1 << (job.bits - 1));
    const int bias = job.bits == 8 ? 0 : 1 << (job.bits - 1);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int k = lane; k < at.count; k += 32) {
        const float value = job.chunk.values[at.begin + k];
        const float steps = scale > 0 ? rintf(__fdiv_rn(value, scale)) : 0.0f;
        const float code = fminf(fmaxf(__fadd_rn(steps, zero), -offset), offset - 1);
        job.chunk.codes[at.begin + k] = static_cast<std::uint8_t>(__float2int_rn(code) + bias);
    }
    if (lane == 0) {
        job.scales[at.stored] = scale_half;
        job.zeros[at.stored] = zero_half;
        if (isinf(scale)) {
            atomicMin(job.chunk.refused, static_cast<unsigned long long>(
                                             (job.chunk.first_row + at.row) * job.chunk.in +
                                             static_cast<std::int64_t>(at.g) * job.group));
        }
    }
}

}  // namespace bitsweep::quant
