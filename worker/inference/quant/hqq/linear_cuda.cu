// Compiled without contraction of products and sums (CMakeLists.txt): the arithmetic of solve.cpp.
#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/hqq/solve.h"
#include "worker/inference/quant/int_group/groups.cuh"
#include "worker/inference/quant/methods_cuda.h"

namespace bitsweep::quant {
namespace {

// A warp takes a group; a lane holds every 32nd weight and what a round adds for it.
__global__ void hqq_kernel(GroupChunk job) {
    const GroupOfWarp at = group_of_warp(job);
    if (at.row >= job.chunk.rows) {
        return;
    }
    const float* values = job.chunk.values + at.begin;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    // 1. The range, 0 included.
    float low = 0, high = 0;
    for (int k = lane; k < at.count; k += 32) {
        low = fminf(low, values[k]);
        high = fmaxf(high, values[k]);
    }
    low = device::min_over_warp(low);
    high = device::max_over_warp(high);
    const float middle = static_cast<float>(1 << (job.bits - 1)), levels = 2 * middle - 1;
    const __half stored = __float2half_rn((high - low) / levels);
    const float scale = __half2float(stored);
    const bool solvable = scale > 0 && !isinf(scale);
    // 2. Rounds, while the error falls.
    __half best = __float2half_rn(0);
    float next = -low / scale, beta = hqq::first_beta, least = INFINITY;
    for (int round = 0; solvable && round < hqq::rounds; ++round) {
        const __half candidate = __float2half_rn(next - middle);
        const float zero = __half2float(candidate) + middle;
        float error_sum = 0, zero_sum = 0;
        for (int k = lane; k < at.count; k += 32) {
            const float value = values[k], steps = value / scale;
            const float code = hqq::code_of(steps, zero, levels);
            const float error = value - (code - zero) * scale;
            const float moved = hqq::shrunk(error, beta);
            error_sum += fabsf(error);
            zero_sum += code - (moved == 0 ? steps : (value - moved) / scale);
        }
        error_sum = device::sum_over_warp(error_sum);
        if (!(error_sum < least)) {
            break;
        }
        least = error_sum;
        best = candidate;
        next = device::sum_over_warp(zero_sum) / static_cast<float>(at.count);
        beta *= hqq::beta_growth;
    }
    // 3. Codes by the best zero; 8-bit ones are stored signed.
    const float zero = __half2float(best) + middle;
    const int signed_by = job.bits == 8 ? 128 : 0;
    for (int k = lane; k < at.count; k += 32) {
        const float code = solvable ? hqq::code_of(values[k] / scale, zero, levels) : middle;
        job.chunk.codes[at.begin + k] =
            static_cast<std::uint8_t>(static_cast<int>(code) - signed_by);
    }
    if (lane == 0) {
        job.scales[at.stored] = stored;
        job.zeros[at.stored] = best;
        if (isinf(scale)) {
            atomicMin(job.chunk.refused, static_cast<unsigned long long>(
                                             (job.chunk.first_row + at.row) * job.chunk.in +
                                             static_cast<std::int64_t>(at.g) * job.group));
        }
    }
}

}  // namespace

PackResult pack_hqq_cuda(const DenseWeight& weight, const MethodOptions& options,
                         CudaBackend& backend) {
    return pack_groups_cuda(weight, options, backend, hqq_kernel);
}

}  // namespace bitsweep::quant
