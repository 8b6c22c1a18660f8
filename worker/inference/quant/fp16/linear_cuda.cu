#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/weight_only.cuh"

namespace bitsweep::quant {

PackResult pack_fp16_cuda(const DenseWeight& weight, const MethodOptions& options,
                          CudaBackend& backend) {
    DeviceBody body = TRY(allocate_device_body(
        weight, options, backend, DeviceFormat{.kind = decode::Codes::f16, .bits = 16}));
    TRY(pack_rows(weight, PackPlan{.element = Element::f16}, body));
    return make_weight_only<device::Unpack<decode::Codes::f16>, __half>(std::move(body));
}

}  // namespace bitsweep::quant
