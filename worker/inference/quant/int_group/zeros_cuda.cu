// Groups with zeros on a CUDA device: one set of kernels for intB-gN-asym and hqq-intB-gN.
#include "worker/inference/quant/int_group/groups.cuh"

namespace bitsweep::quant {

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
    return make_groups<device::WithZeros>(std::move(body));
}

}  // namespace bitsweep::quant
