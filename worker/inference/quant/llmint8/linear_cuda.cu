// llmint8-fused: exact sums, outlier columns and rounding in one kernel for up to eight rows, and
// in the pass that scales the tensor cores' sums for more. No decode step waits for the host; a
// prefill asks how many outlier columns there are.
//
// llmint8-paper: llmint8-fused, but outlier columns meet the fp16 weights
// (DeviceMatrix::originals).
//
// The paper's ablations take the same way with other scales. Those with zero points
// (zero_points_cuda.h) add what the zeros bring to a sum where it is scaled, and leave Hopper's
// kernel aside.
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
//   5  the product is queued before the host waits for the number, and does nothing where there
//      are more columns than it takes: a layer alone 371 -> 336 us (NVIDIA H200), but a prefill of
//      2,048 tokens stayed at 1.8 times threshold 0: behind every wait the card idles until the
//      host has queued the next kernels
//   6  nobody waits: all layers guess that the columns are few, and the engine, told otherwise at
//      the end, runs the prompt again with waits, once (predicted: 1.2 times threshold 0) -> H200,
//      2,048 tokens of an 8B model with random weights, all at once: 28,260 token/s against 43,960
//      at threshold 0, 1.55 times. The guess is wrong there: 0.34 % of the inputs of `down` reach
//      6 (silu(g) u of two normals of deviation 1.28, simulated), in 2,048 rows 99.9 % of its
//      14,336 columns, so that product is made in half precision as a whole, by the rule of
//      LLM.int8() and not by this kernel. With faster attention (hopper_attention.cu) 33,670
//      against 59,220. Random weights have only the planted outliers since (random_weights.cpp),
//      and the guess is right: six columns, 52,130 against 59,720, 1.146 times threshold 0. What
//      trained models have is between: half the layers of SmolLM2 have more than 16 in `down`
#include <algorithm>
#include <vector>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/llmint8/llmint8.h"
#include "worker/inference/quant/llmint8/zero_points_cuda.h"
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
    LlmInt8Fused(DeviceBody body, InputScope scope) : DeviceLayer(std::move(body)), scope_(scope) {}

    InputType input_type() const override { return InputType::f16; }
    bool queues_only(std::int64_t rows) const override {
        return body_.matrix.threshold <= 0 || rows <= most_decode_rows;
    }

    Status multiply(const DeviceCall& call) const override {
        const DeviceMatrix& m = body_.matrix;
        const DeviceTokens tokens = TRY(tokens_of(call));
        if (call.rows <= device::few_rows_limit) {
            return int8_few_rows(m, call, tokens, Int8Rule::llmint8);
        }
        const bool hopper = m.zeros == nullptr && hopper_serves(m, call);
        if (m.threshold > 0 && call.rows > most_decode_rows) {
            return multiply_prefill(call, tokens, hopper);
        }
        if (hopper) {
            return hopper_rows(m, call, tokens, nullptr, Beside::none, Int8Rule::llmint8);
        }
        return int8_many_rows(m, call, tokens, nullptr, Int8Rule::llmint8);
    }

    Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count, float* y,
                   std::int64_t stride, cudaStream_t stream) const override {
        return look_up_int8(body_.matrix, Int8Rule::llmint8, ids, first, count, y, stride, stream);
    }

 private:
    Result<DeviceTokens> tokens_of(const DeviceCall& call) const {
        const DeviceMatrix& m = body_.matrix;
        if (m.zeros != nullptr) {
            return quantise_tokens_by_zero_points(m, call, scope_);
        }
        const DeviceTokens tokens = TRY(quantise_tokens(m, call, InputType::f16));
        if (scope_ == InputScope::tensor && call.rows > 1) {
            TRY(rescale_tokens(m, call, InputType::f16, 0, tokens));
        }
        return tokens;
    }

    // Over hundreds of rows thousands of columns may hold an outlier, and only cuBLASLt is fast
    // enough for them; its shape needs their number.
    Status multiply_prefill(const DeviceCall& call, const DeviceTokens& tokens, bool hopper) const {
        const DeviceMatrix& m = body_.matrix;
        if (hopper && call.too_many != nullptr) {
            return hopper_rows(m, call, tokens, nullptr, Beside::where_few, Int8Rule::llmint8);
        }
        const std::int32_t most = hopper ? most_beside_columns : most_gathered_columns;
        // While the host waits, the card makes the product that most inputs want.
        const std::int32_t columns = TRY(call.backend.read_number(tokens.count, [&]() -> Status {
            return hopper
                       ? hopper_rows(m, call, tokens, nullptr, Beside::where_few, Int8Rule::llmint8)
                       : Status{};
        }));
        if (hopper && columns <= most) {
            return {};
        }
        const float* extra =
            columns > most ? TRY(outlier_product(m, call, tokens, columns)) : nullptr;
        return hopper ? hopper_rows(m, call, tokens, extra, Beside::none, Int8Rule::llmint8)
                      : int8_many_rows(m, call, tokens, extra, Int8Rule::llmint8);
    }

    InputScope scope_;
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

constexpr int corner = 32;

// A block turns 32 x 32 weights of a chunk around: halves [in][out] of the whole matrix.
__global__ void originals_kernel(PackChunk chunk, __half* to, std::int64_t out) {
    __shared__ float square[corner][corner + 1];
    const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * corner;
    const std::int64_t first_input = static_cast<std::int64_t>(blockIdx.x) * corner;
    const int fast = static_cast<int>(threadIdx.x);
    for (int slow = static_cast<int>(threadIdx.y); slow < corner; slow += blockDim.y) {
        const std::int64_t row = first_row + slow, k = first_input + fast;
        square[slow][fast] =
            row < chunk.rows && k < chunk.in ? chunk.values[row * chunk.in + k] : 0.0f;
    }
    __syncthreads();
    for (int slow = static_cast<int>(threadIdx.y); slow < corner; slow += blockDim.y) {
        const std::int64_t k = first_input + slow, row = first_row + fast;
        if (row < chunk.rows && k < chunk.in) {
            to[k * out + chunk.first_row + row] = __float2half_rn(square[fast][slow]);
        }
    }
}

cudaError_t keep_originals(const PackChunk& chunk, const DeviceBody& body) {
    if (body.originals) {
        const auto blocks = [](std::int64_t count) {
            return static_cast<unsigned>((count + corner - 1) / corner);
        };
        originals_kernel<<<dim3(blocks(chunk.in), blocks(chunk.rows)), dim3(corner, 8), 0,
                           chunk.stream>>>(chunk, body.originals->as<__half>(), body.matrix.rows);
    }
    return cudaGetLastError();
}

cudaError_t by_channel(const PackChunk& chunk, const DeviceBody& body) {
    device::vectorwise_kernel<<<static_cast<unsigned>(chunk.rows), device::row_threads, 0,
                                chunk.stream>>>(chunk, body.scales->as<float>());
    return keep_originals(chunk, body);
}

// The tensor's absmax stands in every row's scale.
__global__ void by_tensor_kernel(PackChunk chunk, const float* scales) {
    const std::int64_t row = blockIdx.x;
    const float largest = scales[chunk.first_row + row];
    float factor = largest > 0 ? __fdiv_rn(127.0f, largest) : 0.0f;
    factor = isfinite(factor) ? factor : 0.0f;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += device::row_threads) {
        const std::int64_t at = row * chunk.in + k;
        chunk.codes[at] = static_cast<std::uint8_t>(
            static_cast<std::int8_t>(__float2int_rn(__fmul_rn(chunk.values[at], factor))));
    }
}

cudaError_t by_tensor(const PackChunk& chunk, const DeviceBody& body) {
    by_tensor_kernel<<<static_cast<unsigned>(chunk.rows), device::row_threads, 0, chunk.stream>>>(
        chunk, body.scales->as<float>());
    return keep_originals(chunk, body);
}

cudaError_t by_channel_with_zeros(const PackChunk& chunk, const DeviceBody& body) {
    const cudaError_t error = zero_points_by_channel(chunk, body);
    return error != cudaSuccess ? error : keep_originals(chunk, body);
}

cudaError_t by_tensor_with_zeros(const PackChunk& chunk, const DeviceBody& body) {
    const cudaError_t error = zero_points_by_tensor(chunk, body);
    return error != cudaSuccess ? error : keep_originals(chunk, body);
}

Quantiser quantiser_of(const Int8Scales& scales) {
    if (scales.zero_points) {
        return scales.weight_by_tensor ? by_tensor_with_zeros : by_channel_with_zeros;
    }
    return scales.weight_by_tensor ? by_tensor : by_channel;
}

Status write_tensor_absmax(const Range& range, DeviceBody& body) {
    const std::vector<float> rows(static_cast<std::size_t>(body.matrix.rows),
                                  std::max(range.most, -range.least));
    return body.backend->copy_to_device(*body.scales, 0, rows.data(), rows.size() * sizeof(float));
}

}  // namespace

PackResult pack_llmint8_cuda(const DenseWeight& weight, const MethodOptions& options,
                             CudaBackend& backend) {
    TRY(check_llmint8_options(weight, options));
    const Int8Scales scales = int8_scales(options.method);
    DenseWeight with_half_bias = weight;
    for (float& bias : with_half_bias.bias) {
        bias = round_to_f16(bias);
    }
    const DeviceFormat format{.kind = decode::Codes::i8_i8, .bits = 8, .zeros = scales.zero_points};
    DeviceBody body = TRY(allocate_device_body(with_half_bias, options, backend, format));
    body.originals = TRY(allocate_originals(weight, options, backend));
    body.matrix.originals = body.originals ? body.originals->data() : nullptr;
    if (scales.weight_by_tensor) {
        const Range range = TRY(range_of(weight));
        TRY(scales.zero_points ? write_tensor_zero_point(range, body)
                               : write_tensor_absmax(range, body));
    }
    TRY(pack_rows(weight, PackPlan{.element = Element::f16, .quantiser = quantiser_of(scales)},
                  body));
    if (options.method.text == "llmint8-bnb") {
        return std::unique_ptr<Linear>(std::make_unique<LlmInt8Bnb>(std::move(body)));
    }
    return std::unique_ptr<Linear>(std::make_unique<LlmInt8Fused>(std::move(body), scales.input));
}

}  // namespace bitsweep::quant
