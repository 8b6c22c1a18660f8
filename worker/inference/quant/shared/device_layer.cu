#include "worker/inference/quant/shared/device_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/block_scales.h"
#include "worker/inference/quant/shared/dequantise.cuh"

namespace bitsweep::quant {
namespace {

using decode::Codes;

// Of i8_i8 sums of codes, too.
std::size_t zero_bytes(const DeviceMatrix& m, const DeviceFormat& format, std::size_t scales) {
    return !format.zeros ? 0 : m.kind == Codes::i8_i8 ? 2 * scales : scales;
}

std::size_t scale_bytes(const DeviceMatrix& m, const DeviceFormat& format) {
    const auto rows = static_cast<std::size_t>(m.rows);
    switch (m.kind) {
        case Codes::i8:
        case Codes::i8_i8:
            return rows * 4;
        case Codes::e4m3:
            return format.one_scale ? 4 : rows * 4;
        case Codes::i4_group:
        case Codes::i8_group:
        case Codes::planes:
            // Rounded up: the streaming kernel reads scales in words of four bytes.
            return (rows * static_cast<std::size_t>(m.scales_per_row) * 2 + 3) / 4 * 4;
        case Codes::lut4:
        case Codes::lut4_flat: {
            const std::int64_t blocks = (m.rows * m.in_features + m.group - 1) / m.group;
            const std::int64_t bytes =
                format.nested ? nested_codes_at(blocks) + (blocks + 3) / 4 * 4 : blocks * 4;
            return static_cast<std::size_t>(bytes);
        }
        case Codes::f16:
        case Codes::bf16:
        case Codes::f32:
            break;
    }
    return 0;
}

__global__ void bias_kernel(const float* bias, float* y, std::int64_t out, std::int64_t rows,
                            std::int64_t stride, bool accumulate) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at < out * rows) {
        float* to = y + at / out * stride + at % out;
        *to = bias[at % out] + (accumulate ? *to : 0.0f);
    }
}

template <class Y>
__global__ void convert_kernel(const float* x, std::int64_t rows, std::int64_t in,
                               std::int64_t stride, Y* to) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at < rows * stride) {
        const std::int64_t row = at / stride, k = at % stride;
        device::store_as(k < in ? x[row * in + k] : 0.0f, to + at);
    }
}

unsigned blocks_for(std::int64_t threads) {
    return static_cast<unsigned>((threads + 255) / 256);
}

}  // namespace

Result<DeviceBody> allocate_device_body(const DenseWeight& weight, const MethodOptions& options,
                                        CudaBackend& backend, const DeviceFormat& format) {
    TRY(check_shape(weight));
    DeviceBody body;
    body.name = weight.name;
    body.backend = &backend;
    DeviceMatrix& m = body.matrix;
    m.kind = format.kind;
    m.bits = format.bits;
    m.group = format.group;
    m.rows = weight.out_features;
    m.in_features = static_cast<std::int32_t>(weight.in_features);
    m.row_chunks = row_chunks_of(format.kind, format.bits, weight.in_features);
    m.scales_per_row = format.group > 0 ? (m.in_features + format.group - 1) / format.group : 0;
    m.threshold = static_cast<float>(options.threshold);
    const std::size_t code_bytes = static_cast<std::size_t>(m.rows) * m.row_chunks * 16;
    body.codes =
        TRY(backend.allocate(code_bytes, options.category.value_or(MemoryCategory::weight_codes)));
    m.codes = body.codes->as<std::uint8_t>();
    if (const std::size_t bytes = scale_bytes(m, format); bytes > 0) {
        body.scales =
            TRY(backend.allocate(bytes + zero_bytes(m, format, bytes),
                                 options.category.value_or(MemoryCategory::weight_scales)));
        m.scales = body.scales->data();
        m.zeros = format.zeros ? body.scales->as<std::byte>() + bytes : nullptr;
    }
    if (!weight.bias.empty()) {
        const std::size_t bytes = weight.bias.size() * sizeof(float);
        body.bias = TRY(backend.allocate(bytes, MemoryCategory::other_weights));
        TRY(backend.copy_to_device(*body.bias, 0, weight.bias.data(), bytes));
        m.bias = body.bias->as<float>();
    }
    return Result<DeviceBody>(std::move(body));
}

cudaError_t start_with_bias(const DeviceMatrix& m, const DeviceCall& call) {
    if (m.bias != nullptr) {
        bias_kernel<<<blocks_for(m.rows * call.rows), 256, 0, call.backend.stream()>>>(
            m.bias, call.y, m.rows, call.rows, call.y_stride, call.accumulate);
    }
    return cudaGetLastError();
}

cudaError_t convert_input(const float* x, std::int64_t rows, std::int64_t in, InputType type,
                          void* to, cudaStream_t stream) {
    const std::int64_t stride = input_stride(in);
    const unsigned blocks = blocks_for(rows * stride);
    switch (type) {
        case InputType::f32:
            convert_kernel<<<blocks, 256, 0, stream>>>(x, rows, in, stride,
                                                       static_cast<float*>(to));
            break;
        case InputType::f16:
            convert_kernel<<<blocks, 256, 0, stream>>>(x, rows, in, stride,
                                                       static_cast<__half*>(to));
            break;
        case InputType::bf16:
            convert_kernel<<<blocks, 256, 0, stream>>>(x, rows, in, stride,
                                                       static_cast<__nv_bfloat16*>(to));
            break;
    }
    return cudaGetLastError();
}

Status DeviceLayer::forward(const LinearCall& call) const {
    CudaBackend& backend = *body_.backend;
    const std::int64_t in = body_.matrix.in_features, out = body_.matrix.rows;
    if (call.outliers != nullptr) {
        call.outliers->add(call.x, call.rows);
    }
    const auto floats = [](std::int64_t count) { return static_cast<std::size_t>(count) * 4; };
    auto plain = TRY(backend.allocate(floats(call.rows * in), MemoryCategory::workspace));
    TRY(backend.copy_to_device(*plain, 0, call.x, plain->bytes()));
    const auto x =
        TRY(backend.allocate(floats(call.rows * input_stride(in)), MemoryCategory::workspace));
    const auto y = TRY(backend.allocate(floats(call.rows * out), MemoryCategory::workspace));
    TRY(cuda_status(
        convert_input(plain->as<float>(), call.rows, in, input_type(), x->data(), backend.stream()),
        body_.name));
    TRY(multiply(DeviceCall{.backend = backend,
                            .workspace = call.workspace,
                            .x = x->data(),
                            .rows = call.rows,
                            .y = y->as<float>(),
                            .y_stride = out}));
    return backend.copy_to_host(call.y, *y, 0, y->bytes());
}

void DeviceLayer::dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const {
    CudaBackend& backend = *body_.backend;
    const std::int64_t in = body_.matrix.in_features;
    const auto bytes = static_cast<std::size_t>((end - begin) * in) * sizeof(float);
    const auto read = [&]() -> Status {
        const auto y = TRY(backend.allocate(bytes, MemoryCategory::workspace));
        TRY(look_up(nullptr, begin, end - begin, y->as<float>(), in, backend.stream()));
        return backend.copy_to_host(dst, *y, 0, bytes);
    };
    if (!read().ok()) {
        std::fill_n(dst, (end - begin) * in, std::numeric_limits<float>::quiet_NaN());
    }
}

std::uint64_t DeviceLayer::bytes_per_call() const {
    return body_.codes->bytes() + (body_.scales ? body_.scales->bytes() : 0) +
           (body_.bias ? body_.bias->bytes() : 0);
}

PackedExport DeviceLayer::export_packed() const {
    PackedExport out;
    const DeviceMatrix& m = body_.matrix;
    out.codes.resize(body_.codes->bytes());
    out.codes_shape = {m.rows, std::int64_t{m.row_chunks} * 16};
    out.layout = "rows of 16-byte chunks as on the device (decode/program.h)";
    if (!body_.backend->copy_to_host(out.codes.data(), *body_.codes, 0, out.codes.size()).ok()) {
        out.codes.clear();
    }
    return out;
}

}  // namespace bitsweep::quant
