// llmint8-fused: exact sums, outlier columns and rounding in one kernel for up to eight rows, and
// in the pass that scales the tensor cores' sums for more; nothing waits for the host. llmint8-bnb:
// the launches of bitsandbytes 0.48 (MatMul8bitLt.forward without gradients): quantise, find the
// columns and wait for their number, int8 product by cuBLASLt for any number of rows, gather both
// operands of the outlier product, multiply them, add.
#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/llmint8/llmint8.h"
#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/int8_device.h"
#include "worker/inference/quant/shared/int8_pack.cuh"
#include "worker/inference/quant/shared/int8_weights.h"

namespace bitsweep::quant {
namespace {

class LlmInt8Fused final : public DeviceLayer {
 public:
    using DeviceLayer::DeviceLayer;

    InputType input_type() const override { return InputType::f16; }
    bool queues_only() const override { return true; }

    Status multiply(const DeviceCall& call) const override {
        const DeviceMatrix& m = body_.matrix;
        const DeviceTokens tokens = TRY(quantise_tokens(m, call, InputType::f16));
        if (call.rows <= device::few_rows_limit) {
            return int8_few_rows(m, call, tokens, Int8Rule::llmint8);
        }
        return int8_many_rows(m, call, tokens, nullptr, Int8Rule::llmint8);
    }

    Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count, float* y,
                   std::int64_t stride, cudaStream_t stream) const override {
        return look_up_int8(body_.matrix, Int8Rule::llmint8, ids, first, count, y, stride, stream);
    }
};

class LlmInt8Bnb final : public DeviceLayer {
 public:
    using DeviceLayer::DeviceLayer;

    InputType input_type() const override { return InputType::f16; }
    bool queues_only() const override { return body_.matrix.threshold <= 0; }

    Status multiply(const DeviceCall& call) const override {
        DeviceMatrix m = body_.matrix;
        const DeviceTokens tokens = TRY(quantise_tokens(m, call, InputType::f16));
        std::int32_t columns = 0;
        if (m.threshold > 0) {
            TRY(call.backend.copy_from(&columns, tokens.count, sizeof columns));
        }
        const float* extra = columns > 0 ? TRY(outlier_product(m, call, tokens, columns)) : nullptr;
        m.threshold = 0;  // `extra` holds the outliers
        return int8_many_rows(m, call, tokens, extra, Int8Rule::llmint8);
    }

    Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count, float* y,
                   std::int64_t stride, cudaStream_t stream) const override {
        return look_up_int8(body_.matrix, Int8Rule::llmint8, ids, first, count, y, stride, stream);
    }
};

cudaError_t quantise(const PackChunk& chunk, const DeviceBody& body) {
    device::vectorwise_kernel<<<static_cast<unsigned>(chunk.rows), device::row_threads, 0,
                                chunk.stream>>>(chunk, body.scales->as<float>());
    return cudaGetLastError();
}

}  // namespace

PackResult pack_llmint8_cuda(const DenseWeight& weight, const MethodOptions& options,
                             CudaBackend& backend) {
    TRY(check_llmint8_options(weight, options));
    DenseWeight with_half_bias = weight;
    for (float& bias : with_half_bias.bias) {
        bias = round_to_f16(bias);
    }
    DeviceBody body = TRY(allocate_device_body(
        with_half_bias, options, backend, DeviceFormat{.kind = decode::Codes::i8_i8, .bits = 8}));
    TRY(pack_rows(weight, PackPlan{.element = Element::f16, .quantiser = quantise}, body));
    if (options.method.text == "llmint8-bnb") {
        return std::unique_ptr<Linear>(std::make_unique<LlmInt8Bnb>(std::move(body)));
    }
    return std::unique_ptr<Linear>(std::make_unique<LlmInt8Fused>(std::move(body)));
}

}  // namespace bitsweep::quant
