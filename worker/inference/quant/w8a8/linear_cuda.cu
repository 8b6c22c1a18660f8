#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/int8_device.h"
#include "worker/inference/quant/shared/int8_hopper.h"
#include "worker/inference/quant/shared/int8_pack.cuh"
#include "worker/inference/quant/shared/int8_weights.h"

namespace bitsweep::quant {
namespace {

// Activations are quantised from float32, as on the CPU.
class W8A8Device final : public DeviceLayer {
 public:
    using DeviceLayer::DeviceLayer;

    InputType input_type() const override { return InputType::f32; }
    bool queues_only(std::int64_t) const override { return true; }

    Status multiply(const DeviceCall& call) const override {
        const DeviceMatrix& m = body_.matrix;
        const DeviceTokens tokens = TRY(quantise_tokens(m, call, InputType::f32));
        if (call.rows <= device::few_rows_limit) {
            return int8_few_rows(m, call, tokens, Int8Rule::w8a8);
        }
        return hopper_serves(m, call)
                   ? hopper_rows(m, call, tokens, nullptr, Beside::none, Int8Rule::w8a8)
                   : int8_many_rows(m, call, tokens, nullptr, Int8Rule::w8a8);
    }

    Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count, float* y,
                   std::int64_t stride, cudaStream_t stream) const override {
        return look_up_int8(body_.matrix, Int8Rule::w8a8, ids, first, count, y, stride, stream);
    }
};

cudaError_t quantise(const PackChunk& chunk, const DeviceBody& body) {
    device::absmax127_kernel<<<static_cast<unsigned>(chunk.rows), device::row_threads, 0,
                               chunk.stream>>>(chunk, false, body.scales->as<float>());
    return cudaGetLastError();
}

}  // namespace

PackResult pack_w8a8_cuda(const DenseWeight& weight, const MethodOptions& options,
                          CudaBackend& backend) {
    TRY(check_exact_width(weight));
    MethodOptions without_threshold = options;
    without_threshold.threshold = 0;
    DeviceBody body = TRY(allocate_device_body(
        weight, without_threshold, backend, DeviceFormat{.kind = decode::Codes::i8_i8, .bits = 8}));
    TRY(pack_rows(weight, PackPlan{.quantiser = quantise}, body));
    return std::unique_ptr<Linear>(std::make_unique<W8A8Device>(std::move(body)));
}

}  // namespace bitsweep::quant
