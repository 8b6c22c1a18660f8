#include "worker/inference/quant/int_group/groups.cuh"
#include "worker/inference/quant/methods_cuda.h"

namespace bitsweep::quant {
namespace {

// A warp takes a group: the arithmetic of pack.cpp. 8-bit codes are stored signed.
__global__ void group_kernel(PackChunk chunk, int bits, int group, int groups, __half* scales) {
    const std::int64_t at =
        static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    if (at >= chunk.rows * groups) {
        return;
    }
    const std::int64_t row = at / groups;
    const int g = static_cast<int>(at % groups), lane = threadIdx.x % 32;
    const std::int64_t begin = row * chunk.in + static_cast<std::int64_t>(g) * group;
    const int count = static_cast<int>(
        min(static_cast<std::int64_t>(group), chunk.in - static_cast<std::int64_t>(g) * group));
    float largest = 0;
    for (int k = lane; k < count; k += 32) {
        largest = fmaxf(largest, fabsf(chunk.values[begin + k]));
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
    }
    const int most = (1 << (bits - 1)) - 1, offset = bits == 8 ? 0 : 1 << (bits - 1);
    const __half stored = __float2half_rn(__fdiv_rn(largest, static_cast<float>(most)));
    const float scale = __half2float(stored);
    for (int k = lane; k < count; k += 32) {
        const float steps = scale > 0 ? __fdiv_rn(chunk.values[begin + k], scale) : 0.0f;
        const float bounded =
            fminf(fmaxf(steps, static_cast<float>(-most)), static_cast<float>(most));
        chunk.codes[begin + k] = static_cast<std::uint8_t>(__float2int_rn(bounded) + offset);
    }
    if (lane == 0) {
        scales[(chunk.first_row + row) * groups + g] = stored;
        if (isinf(scale)) {
            atomicMin(chunk.refused,
                      static_cast<unsigned long long>((chunk.first_row + row) * chunk.in +
                                                      static_cast<std::int64_t>(g) * group));
        }
    }
}

}  // namespace

PackResult pack_int_group_cuda(const DenseWeight& weight, const MethodOptions& options,
                               CudaBackend& backend) {
    const int bits = options.method.weight_bits, group = options.method.group;
    DeviceBody body =
        TRY(allocate_device_body(weight, options, backend, group_format(options.method)));
    PackPlan plan;
    plan.refusal = "the scale of its group does not fit fp16; use int8";
    plan.quantiser = [bits, group](const PackChunk& chunk, const DeviceBody& to) {
        const int groups = to.matrix.scales_per_row;
        const auto blocks = static_cast<unsigned>((chunk.rows * groups + 3) / 4);
        group_kernel<<<blocks, 128, 0, chunk.stream>>>(chunk, bits, group, groups,
                                                       to.scales->as<__half>());
        return cudaGetLastError();
    };
    TRY(pack_rows(weight, plan, body));
    return make_groups(std::move(body));
}

}  // namespace bitsweep::quant
