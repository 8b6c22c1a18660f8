#include "worker/inference/quant/shared/codebook4_cuda.h"

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/shared/block_scales.h"
#include "worker/inference/quant/shared/weight_only.cuh"

namespace bitsweep::quant {
namespace {

struct DeviceBook {
    float value[16];
    float midpoint[15];
    std::uint8_t order[16];
    bool two_zeros;
};

DeviceBook device_book(const Codebook& book) {
    DeviceBook made{};
    std::copy(book.value.begin(), book.value.end(), made.value);
    std::copy(book.midpoint.begin(), book.midpoint.end(), made.midpoint);
    std::copy(book.order.begin(), book.order.end(), made.order);
    made.two_zeros = book.two_zeros;
    return made;
}

// codes_of_block (codebook4.cpp).
__device__ std::uint8_t code_of(const DeviceBook& book, float value, float absmax) {
    if (absmax == 0) {
        return 0;
    }
    const float inverse = __fdiv_rn(1.0f, absmax);
    const float quotient = isinf(inverse) ? __fdiv_rn(value, absmax) : __fmul_rn(value, inverse);
    const float x = fminf(fmaxf(quotient, -1.0f), 1.0f);
    int rank = 0;
#pragma unroll
    for (int i = 0; i < 15; ++i) {
        rank += x > book.midpoint[i] ? 1 : 0;
    }
    const std::uint8_t code = book.order[rank];
    return book.two_zeros && book.value[code] == 0 ? (x < 0 ? 8 : 0) : code;
}

// A warp takes a block. Blocks follow one another through the chunk.
__global__ void codebook_kernel(PackChunk chunk, DeviceBook book, int length, float* scales) {
    const std::int64_t block =
        static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    const std::int64_t total = chunk.rows * chunk.in, first = block * length;
    if (first >= total) {
        return;
    }
    const std::int64_t end = min(first + length, total);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float largest = 0;
    for (std::int64_t i = first + lane; i < end; i += 32) {
        largest = fmaxf(largest, fabsf(chunk.values[i]));
    }
    largest = device::max_over_warp(largest);
    for (std::int64_t i = first + lane; i < end; i += 32) {
        chunk.codes[i] = code_of(book, chunk.values[i], largest);
    }
    if (lane == 0) {
        scales[chunk.first_row * chunk.in / length + block] = largest;
    }
}

// The sixteen values, and the map of nested scales behind them.
Status upload_book(DeviceBody& body, const MethodOptions& options, const Codebook& book) {
    std::vector<float> values(book.value.begin(), book.value.end());
    if (options.method.nested_scales) {
        values.insert(values.end(), dynamic_map().begin(), dynamic_map().end());
    }
    const std::size_t bytes = values.size() * sizeof(float);
    body.code_book = TRY(
        body.backend->allocate(bytes, options.category.value_or(MemoryCategory::weight_scales)));
    body.matrix.code_book = body.code_book->as<float>();
    return body.backend->copy_to_device(*body.code_book, 0, values.data(), bytes);
}

// Scales of scales are chosen on the host, by the CPU's own code: one value in 64 or fewer.
Status nest(DeviceBody& body, const Buffer& absmax) {
    std::vector<float> plain(absmax.bytes() / sizeof(float));
    TRY(body.backend->copy_to_host(plain.data(), absmax, 0, absmax.bytes()));
    const std::vector<std::uint8_t> stored = nest_scales(plain).stored();
    TRY(body.backend->copy_to_device(*body.scales, 0, stored.data(), stored.size()));
    body.matrix.scale_codes =
        body.scales->as<std::uint8_t>() + nested_codes_at(static_cast<std::int64_t>(plain.size()));
    return {};
}

}  // namespace

PackResult pack_codebook_cuda(const DenseWeight& weight, const MethodOptions& options,
                              CudaBackend& backend, const Codebook& book) {
    const int length = options.method.group;
    const bool aligned = weight.in_features % length == 0, nested = options.method.nested_scales;
    DeviceBody body = TRY(allocate_device_body(
        weight, options, backend,
        DeviceFormat{.kind = aligned ? decode::Codes::lut4 : decode::Codes::lut4_flat,
                     .bits = 4,
                     .group = length,
                     .nested = nested}));
    TRY(upload_book(body, options, book));
    std::unique_ptr<Buffer> absmax;  // until they are nested
    if (nested) {
        const std::int64_t count = weight.out_features * weight.in_features;
        absmax = TRY(backend.allocate(
            static_cast<std::size_t>((count + length - 1) / length) * sizeof(float),
            MemoryCategory::workspace));
    }
    float* scales = nested ? absmax->as<float>() : body.scales->as<float>();
    PackPlan plan;
    plan.whole = !aligned;  // blocks run over row ends
    plan.quantiser = [on_device = device_book(book), length, scales](const PackChunk& chunk,
                                                                     const DeviceBody&) {
        const std::int64_t blocks = (chunk.rows * chunk.in + length - 1) / length;
        codebook_kernel<<<static_cast<unsigned>((blocks + 3) / 4), 128, 0, chunk.stream>>>(
            chunk, on_device, length, scales);
        return cudaGetLastError();
    };
    TRY(pack_rows(weight, plan, body));
    if (nested) {
        TRY(nest(body, *absmax));
    }
    if (aligned) {
        return make_weight_only<device::Unpack<decode::Codes::lut4>, __half>(std::move(body));
    }
    return make_weight_only<device::Unpack<decode::Codes::lut4_flat>, __half>(std::move(body));
}

}  // namespace bitsweep::quant
