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

struct RescaleJob {
    const float* x;
    std::int64_t x_stride;
    int in;
    int stride;  // of codes
    float absmax;
    DeviceTokens tokens;
};

// One block: every row's absmax becomes the largest of them; NaN where one of them is.
__global__ void __launch_bounds__(row_threads) join_kernel(float* scale, int rows) {
    __shared__ float scratch[row_threads / 32];
    float largest = 0, nan = 0;
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += row_threads) {
        largest = fmaxf(largest, scale[r]);
        nan = isnan(scale[r]) ? 1.0f : nan;
    }
    largest = device::block_max(largest, scratch);
    nan = device::block_max(nan, scratch);
    const float joined = nan != 0 ? __int_as_float(0x7fc00000) : largest;
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += row_threads) {
        scale[r] = joined;
    }
}

// A block a row: codes by the shared absmax (quantize_token_by). A row whose own absmax is not
// finite keeps it, so that the output says so.
__global__ void __launch_bounds__(row_threads) rescale_kernel(RescaleJob job) {
    const std::int64_t row = blockIdx.x;
    const float own = job.tokens.scale[row];
    const float largest = job.absmax > 0 ? job.absmax : own;
    const bool usable = isfinite(own) && isfinite(largest);
    float factor = largest > 0 && usable ? __fdiv_rn(127.0f, largest) : 0.0f;
    factor = isfinite(factor) ? factor : 0.0f;
    std::int8_t* codes = job.tokens.codes + row * job.stride;
    for (int k = static_cast<int>(threadIdx.x); k < job.in; k += row_threads) {
        const float v = factor > 0 ? __fmul_rn(job.x[row * job.x_stride + k], factor) : 0.0f;
        codes[k] = static_cast<std::int8_t>(__float2int_rn(fminf(fmaxf(v, -127.0f), 127.0f)));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        job.tokens.scale[row] = usable ? largest : __int_as_float(0x7fc00000);
    }
}

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
            TRY(rescale(call, tokens));
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
    Status rescale(const DeviceCall& call, const DeviceTokens& tokens) const {
        const DeviceMatrix& m = body_.matrix;
        const cudaStream_t stream = call.backend.stream();
        if (scope_ == InputScope::tensor) {
            join_kernel<<<1, row_threads, 0, stream>>>(tokens.scale, static_cast<int>(call.rows));
        }
        const RescaleJob job{static_cast<const float*>(call.x),
                             input_stride(m.in_features),
                             m.in_features,
                             m.row_chunks * 16,
                             m.input_absmax,
                             tokens};
        rescale_kernel<<<static_cast<unsigned>(call.rows), row_threads, 0, stream>>>(job);
        return cuda_status(cudaGetLastError(), "quantising activations by one scale");
    }

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
