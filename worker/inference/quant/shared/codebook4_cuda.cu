#include "worker/inference/quant/shared/codebook4_cuda.h"

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

// A warp takes a block of 64 weights, two a lane. Blocks follow one another through the chunk.
__global__ void codebook_kernel(PackChunk chunk, DeviceBook book, float* scales) {
    const std::int64_t block =
        static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    const std::int64_t total = chunk.rows * chunk.in, first = block * codebook_block;
    if (first >= total) {
        return;
    }
    const std::int64_t a = first + threadIdx.x % 32, b = a + 32;
    const float va = a < total ? chunk.values[a] : 0.0f, vb = b < total ? chunk.values[b] : 0.0f;
    float largest = fmaxf(fabsf(va), fabsf(vb));
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
    }
    if (a < total) {
        chunk.codes[a] = code_of(book, va, largest);
    }
    if (b < total) {
        chunk.codes[b] = code_of(book, vb, largest);
    }
    if (threadIdx.x % 32 == 0) {
        scales[chunk.first_row * chunk.in / codebook_block + block] = largest;
    }
}

}  // namespace

PackResult pack_codebook_cuda(const DenseWeight& weight, const MethodOptions& options,
                              CudaBackend& backend, const Codebook& book) {
    const bool aligned = weight.in_features % codebook_block == 0;
    DeviceBody body = TRY(allocate_device_body(
        weight, options, backend,
        DeviceFormat{.kind = aligned ? decode::Codes::lut4 : decode::Codes::lut4_flat,
                     .bits = 4,
                     .group = static_cast<int>(codebook_block)}));
    body.code_book = TRY(backend.allocate(
        sizeof book.value, options.category.value_or(MemoryCategory::weight_scales)));
    TRY(backend.copy_to_device(*body.code_book, 0, book.value.data(), sizeof book.value));
    body.matrix.code_book = body.code_book->as<float>();
    PackPlan plan;
    plan.whole = !aligned;  // blocks run over row ends
    plan.quantiser = [on_device = device_book(book)](const PackChunk& chunk, const DeviceBody& to) {
        const std::int64_t blocks = (chunk.rows * chunk.in + codebook_block - 1) / codebook_block;
        codebook_kernel<<<static_cast<unsigned>((blocks + 3) / 4), 128, 0, chunk.stream>>>(
            chunk, on_device, to.scales->as<float>());
        return cudaGetLastError();
    };
    TRY(pack_rows(weight, plan, body));
    if (aligned) {
        return make_weight_only<device::Unpack<decode::Codes::lut4>, __half>(std::move(body));
    }
    return make_weight_only<device::Unpack<decode::Codes::lut4_flat>, __half>(std::move(body));
}

}  // namespace bitsweep::quant
