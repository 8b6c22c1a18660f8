// llmint8-fused: exact sums, outlier columns and rounding in one kernel for up to eight rows, and
// in the pass that scales the tensor cores' sums for more. No decode step waits for the host; a
// prefill asks how many outlier columns there are.
//
// llmint8-bnb: the launches of bitsandbytes (MatMul8bitLt.forward without gradients):
// quantise, find the columns and wait for their number, int8 product by cuBLASLt for any number of
// rows, gather both operands of the outlier product, multiply them, add.
//
// Ladder of llmint8-fused (NVIDIA H100 80GB HBM3, Llama-3.1-8B with random weights, 512-token
// prefill at threshold 6; beside it w8a8 30,800 tokens/s, threshold 0 32,800, llmint8-bnb 13,900 in
// one of 2,048 tokens):
//   1  sums of outlier columns in the scaling pass, a thread an output -> 10x slower than fp16 (1B)
//   2  up to 512 gathered columns on tensor cores (predicted: enough) -> 404 tokens/s: more columns
//      hold an outlier in some row, and those beyond 512 take the old way
//   3  above 512 columns cuBLASLt, as llmint8-bnb: products of a layer's four matrices with six
//      outlier columns at 512 rows 623 us against 254 without (bench_gpu_layers)
//   4  up to 16 columns in the kernel of the sums (int8_hopper.cu): 371 us. Of what is left, the
//   wait
//      for their number is 10 to 15 us a product, looking for them 6, adding them 2 to 18
#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/llmint8/llmint8.h"
#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/int8_device.h"
#include "worker/inference/quant/shared/int8_hopper.h"
#include "worker/inference/quant/shared/int8_pack.cuh"
#include "worker/inference/quant/shared/int8_weights.h"

namespace bitsweep::quant {
namespace {

// Rows of a decode step at most: it must not wait, since a CUDA graph may hold it.
constexpr std::int64_t most_decode_rows = 64;

class LlmInt8Fused final : public DeviceLayer {
 public:
    using DeviceLayer::DeviceLayer;

    InputType input_type() const override { return InputType::f16; }
    bool queues_only(std::int64_t rows) const override {
        return body_.matrix.threshold <= 0 || rows <= most_decode_rows;
    }

    Status multiply(const DeviceCall& call) const override {
        const DeviceMatrix& m = body_.matrix;
        const DeviceTokens tokens = TRY(quantise_tokens(m, call, InputType::f16));
        if (call.rows <= device::few_rows_limit) {
            return int8_few_rows(m, call, tokens, Int8Rule::llmint8);
        }
        const bool hopper = hopper_serves(m, call);
        const float* extra = nullptr;
        std::int32_t columns = 0;
        if (m.threshold > 0 && call.rows > most_decode_rows) {
            // A prefill: over hundreds of rows thousands of columns may hold an outlier, and only
            // cuBLASLt is fast enough for them; its shape needs their number.
            TRY(call.backend.copy_from(&columns, tokens.count, sizeof columns));
            if (columns > (hopper ? most_beside_columns : most_gathered_columns)) {
                extra = TRY(outlier_product(m, call, tokens, columns));
                columns = 0;
            }
        }
        if (hopper) {
            return hopper_rows(m, call, tokens, extra, columns, Int8Rule::llmint8);
        }
        return int8_many_rows(m, call, tokens, extra, Int8Rule::llmint8);
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
    bool queues_only(std::int64_t) const override { return body_.matrix.threshold <= 0; }

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
