#include <vector>

#include "worker/inference/quant/int_group/groups.cuh"
#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep::quant {
namespace {

// A thread takes a weight: it stands on the grid of its group's scale (pack.cpp). 8-bit codes are
// stored signed.
__global__ void codes_kernel(PackChunk chunk, int bits, int group, int groups,
                             const __half* scales) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= chunk.rows * chunk.in) {
        return;
    }
    const std::int64_t row = at / chunk.in, input = at % chunk.in;
    const float scale = __half2float(scales[(chunk.first_row + row) * groups + input / group]);
    const float steps = scale > 0 ? __fdiv_rn(chunk.values[at], scale) : 0.0f;
    const int offset = bits == 8 ? 0 : 1 << (bits - 1);
    chunk.codes[at] = static_cast<std::uint8_t>(__float2int_rn(steps) + offset);
}

}  // namespace

PackResult pack_gptq_cuda(const DenseWeight& weight, const MethodOptions& options,
                          CudaBackend& backend) {
    if (!weight.grid) {
        return pack_int_group_cuda(weight, options, backend);
    }
    DeviceBody body =
        TRY(allocate_device_body(weight, options, backend, group_format(options.method)));
    const int groups = body.matrix.scales_per_row;
    if (weight.grid_width != groups) {
        return make_error(ErrorCode::corrupt, weight.name + ": " +
                                                  std::to_string(weight.grid_width) +
                                                  " calibrated scales a row, but " +
                                                  std::to_string(groups) + " groups");
    }
    std::vector<float> scales(static_cast<std::size_t>(weight.out_features * groups));
    TRY(weight.grid(0, weight.out_features, scales.data()));
    std::vector<std::uint16_t> halves;
    for (const float scale : scales) {
        halves.push_back(f32_to_f16(scale));
    }
    TRY(backend.copy_to_device(*body.scales, 0, halves.data(), halves.size() * sizeof halves[0]));
    PackPlan plan;
    plan.quantiser = [groups, bits = options.method.weight_bits, group = options.method.group](
                         const PackChunk& chunk, const DeviceBody& to) {
        constexpr int threads = 256;
        const auto blocks = static_cast<unsigned>((chunk.rows * chunk.in + threads - 1) / threads);
        codes_kernel<<<blocks, threads, 0, chunk.stream>>>(chunk, bits, group, groups,
                                                           to.scales->as<__half>());
        return cudaGetLastError();
    };
    TRY(pack_rows(weight, plan, body));
    return make_groups(std::move(body));
}

}  // namespace bitsweep::quant
