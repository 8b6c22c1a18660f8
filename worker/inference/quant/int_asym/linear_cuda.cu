#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/int_group/groups.cuh"
#include "worker/inference/quant/methods_cuda.h"

namespace bitsweep::quant {
namespace {

// A warp takes a group: the arithmetic of pack.cpp.
__global__ void asym_kernel(GroupChunk job) {
    const GroupOfWarp at = group_of_warp(job);
    if (at.row >= job.chunk.rows) {
        return;
    }
    float low = 0, high = 0;
    for (int k = static_cast<int>(threadIdx.x) % 32; k < at.count; k += 32) {
        low = fminf(low, job.chunk.values[at.begin + k]);
        high = fmaxf(high, job.chunk.values[at.begin + k]);
    }
    low = device::min_over_warp(low);
    high = device::max_over_warp(high);
    const float offset = static_cast<float>(1 << (job.bits - 1)), levels = 2 * offset - 1;
    const __half stored = __float2half_rn(__fdiv_rn(__fsub_rn(high, low), levels));
    const float scale = __half2float(stored);
    const float middle = rintf(__fdiv_rn(-low, scale));
    const float zero = scale > 0 ? fminf(fmaxf(middle, 0.0f), levels) - offset : 0.0f;
    store_group(job, at, stored, __float2half_rn(zero));
}

}  // namespace

PackResult pack_int_asym_cuda(const DenseWeight& weight, const MethodOptions& options,
                              CudaBackend& backend) {
    return pack_groups_cuda(weight, options, backend, asym_kernel);
}

}  // namespace bitsweep::quant
