#include <vector>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/int8_device.h"
#include "worker/inference/quant/shared/int8_pack.cuh"
#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/smoothquant/smoothquant.h"

namespace bitsweep::quant {
namespace {

using device::row_threads;

class SmoothQuantDevice final : public DeviceLayer {
 public:
    SmoothQuantDevice(DeviceBody body, InputScope scope)
        : DeviceLayer(std::move(body)), scope_(scope) {}

    InputType input_type() const override { return InputType::f32; }
    bool queues_only(std::int64_t) const override { return true; }

    Status multiply(const DeviceCall& call) const override {
        const DeviceMatrix& m = body_.matrix;
        const DeviceTokens tokens = TRY(quantise_tokens(m, call, InputType::f32));
        // The absmax of one row is that of the tensor.
        if (scope_ == InputScope::fixed || (scope_ == InputScope::tensor && call.rows > 1)) {
            TRY(rescale_tokens(m, call, InputType::f32, m.input_absmax, tokens));
        }
        if (call.rows <= device::few_rows_limit) {
            return int8_few_rows(m, call, tokens, Int8Rule::w8a8);
        }
        return int8_many_rows(m, call, tokens, nullptr, Int8Rule::w8a8);
    }

    Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count, float* y,
                   std::int64_t stride, cudaStream_t stream) const override {
        return look_up_int8(body_.matrix, Int8Rule::w8a8, ids, first, count, y, stride, stream);
    }

 private:
    InputScope scope_;
};

cudaError_t own_absmax(const PackChunk& chunk, const DeviceBody& body) {
    device::absmax127_kernel<<<static_cast<unsigned>(chunk.rows), row_threads, 0, chunk.stream>>>(
        chunk, false, body.scales->as<float>());
    return cudaGetLastError();
}

cudaError_t given_absmax(const PackChunk& chunk, const DeviceBody& body) {
    device::given127_kernel<<<static_cast<unsigned>(chunk.rows), row_threads, 0, chunk.stream>>>(
        chunk, body.scales->as<float>());
    return cudaGetLastError();
}

}  // namespace

PackResult pack_smoothquant_cuda(const DenseWeight& weight, const MethodOptions& options,
                                 CudaBackend& backend) {
    const InputScope scope = input_scope(options.method);
    TRY(check_exact_width(weight));
    TRY(check_input_scale(weight, scope));
    MethodOptions without_threshold = options;
    without_threshold.threshold = 0;
    DeviceBody body = TRY(allocate_device_body(
        weight, without_threshold, backend, DeviceFormat{.kind = decode::Codes::i8_i8, .bits = 8}));
    if (scope == InputScope::fixed) {
        body.matrix.input_absmax = weight.input_absmax;
    }
    if (weight.grid) {
        std::vector<float> rows(static_cast<std::size_t>(weight.out_features));
        TRY(weight.grid(0, weight.out_features, rows.data()));
        TRY(backend.copy_to_device(*body.scales, 0, rows.data(), rows.size() * sizeof(float)));
    }
    TRY(pack_rows(weight, PackPlan{.quantiser = weight.grid ? given_absmax : own_absmax}, body));
    return std::unique_ptr<Linear>(std::make_unique<SmoothQuantDevice>(std::move(body), scope));
}

}  // namespace bitsweep::quant
