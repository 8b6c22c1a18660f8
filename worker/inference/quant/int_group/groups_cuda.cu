// Codes in groups on a CUDA device: one set of kernels for all methods that have them.
#include "worker/inference/quant/int_group/groups.cuh"
#include "worker/inference/quant/shared/weight_only.cuh"

namespace bitsweep::quant {

std::unique_ptr<Linear> make_groups(DeviceBody body) {
    using decode::Codes;
    const auto made = [&]<class Weights>(Weights) {
        return make_weight_only<device::InGroups<Weights>, __half>(std::move(body));
    };
    switch (body.matrix.bits) {
        case 2:
            return made(device::Unpack<Codes::planes, 2>{});
        case 3:
            return made(device::Unpack<Codes::planes, 3>{});
        case 4:
            return made(device::Unpack<Codes::i4_group>{});
        case 5:
            return made(device::Unpack<Codes::planes, 5>{});
        case 6:
            return made(device::Unpack<Codes::planes, 6>{});
        case 7:
            return made(device::Unpack<Codes::planes, 7>{});
        default:
            return made(device::Unpack<Codes::i8_group>{});
    }
}

PackResult pack_groups_cuda(const DenseWeight& weight, const MethodOptions& options,
                            CudaBackend& backend, GroupKernel kernel) {
    DeviceBody body = TRY(allocate_device_body(weight, options, backend,
                                               group_format(options.method, GroupZeros::yes)));
    PackPlan plan;
    plan.refusal = "the scale of its group does not fit fp16; use int8";
    plan.quantiser = [kernel](const PackChunk& chunk, const DeviceBody& to) {
        const int groups = to.matrix.scales_per_row;
        const auto blocks = static_cast<unsigned>((chunk.rows * groups + 3) / 4);
        kernel<<<blocks, 128, 0, chunk.stream>>>(
            GroupChunk{chunk, to.matrix.bits, to.matrix.group, groups, to.scales->as<__half>(),
                       static_cast<__half*>(const_cast<void*>(to.matrix.zeros))});
        return cudaGetLastError();
    };
    TRY(pack_rows(weight, plan, body));
    return make_groups(std::move(body));
}

}  // namespace bitsweep::quant
