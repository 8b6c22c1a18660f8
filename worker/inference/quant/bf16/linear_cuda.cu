#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/weight_only.cuh"

namespace bitsweep::quant {

PackResult pack_bf16_cuda(const DenseWeight& weight, const MethodOptions& options,
                          CudaBackend& backend) {
    DeviceBody body = TRY(allocate_device_body(
        weight, options, backend, DeviceFormat{.kind = decode::Codes::bf16, .bits = 16}));
    TRY(pack_rows(weight, PackPlan{.element = Element::f32}, body));
    return make_weight_only<device::Unpack<decode::Codes::bf16>, __nv_bfloat16>(std::move(body));
}

}  // namespace bitsweep::quant
