#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/int8_pack.cuh"
#include "worker/inference/quant/shared/weight_only.cuh"

namespace bitsweep::quant {
namespace {

cudaError_t quantise(const PackChunk& chunk, const DeviceBody& body) {
    device::absmax127_kernel<<<static_cast<unsigned>(chunk.rows), device::row_threads, 0,
                               chunk.stream>>>(chunk, true, body.scales->as<float>());
    return cudaGetLastError();
}

}  // namespace

PackResult pack_int8_cuda(const DenseWeight& weight, const MethodOptions& options,
                          CudaBackend& backend) {
    DeviceBody body = TRY(allocate_device_body(weight, options, backend,
                                               DeviceFormat{.kind = decode::Codes::i8, .bits = 8}));
    TRY(pack_rows(weight, PackPlan{.quantiser = quantise}, body));
    return make_weight_only<device::Unpack<decode::Codes::i8>, __half>(std::move(body),
                                                                       device::RowFactor::scale);
}

}  // namespace bitsweep::quant
