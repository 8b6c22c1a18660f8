#include "worker/inference/quant/fp8/e4m3.h"
#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/int8_pack.cuh"
#include "worker/inference/quant/shared/weight_only.cuh"

namespace bitsweep::quant {
namespace {

// scale = absmax / 448, or 0 for zeros (shared/dense.cpp).
__device__ float scale_of(float absmax) {
    return __fdiv_rn(absmax, e4m3::largest);
}

__device__ float absmax_of_row(const PackChunk& chunk, std::int64_t row, float* scratch) {
    float largest = 0;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += device::row_threads) {
        largest = fmaxf(largest, fabsf(chunk.values[row * chunk.in + k]));
    }
    return device::block_max(largest, scratch);
}

__device__ void store_row(const PackChunk& chunk, std::int64_t row, float scale) {
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += device::row_threads) {
        const std::int64_t at = row * chunk.in + k;
        chunk.codes[at] = e4m3::encode_scaled(chunk.values[at], scale);
    }
}

// A block a row.
__global__ void channel_kernel(PackChunk chunk, float* scales) {
    __shared__ float scratch[device::row_threads / 32];
    const std::int64_t row = blockIdx.x;
    const float scale = scale_of(absmax_of_row(chunk, row, scratch));
    store_row(chunk, row, scale);
    if (threadIdx.x == 0) {
        scales[chunk.first_row + row] = scale;
    }
}

// The absmax of all rows, as the bits of a float that is not negative.
__global__ void absmax_kernel(PackChunk chunk, int* absmax) {
    __shared__ float scratch[device::row_threads / 32];
    const float largest = absmax_of_row(chunk, blockIdx.x, scratch);
    if (threadIdx.x == 0) {
        atomicMax(absmax, __float_as_int(largest));
    }
}

__global__ void tensor_kernel(PackChunk chunk, const int* absmax) {
    store_row(chunk, blockIdx.x, scale_of(__int_as_float(*absmax)));
}

__global__ void finish_scale_kernel(float* scale) {
    *scale = scale_of(*scale);
}

cudaError_t quantise_channels(const PackChunk& chunk, const DeviceBody& body) {
    channel_kernel<<<static_cast<unsigned>(chunk.rows), device::row_threads, 0, chunk.stream>>>(
        chunk, body.scales->as<float>());
    return cudaGetLastError();
}

// The whole weight is one chunk; its scale, zero at first, is the absmax until the codes stand.
cudaError_t quantise_tensor(const PackChunk& chunk, const DeviceBody& body) {
    auto* absmax = body.scales->as<int>();
    const auto rows = static_cast<unsigned>(chunk.rows);
    absmax_kernel<<<rows, device::row_threads, 0, chunk.stream>>>(chunk, absmax);
    tensor_kernel<<<rows, device::row_threads, 0, chunk.stream>>>(chunk, absmax);
    finish_scale_kernel<<<1, 1, 0, chunk.stream>>>(body.scales->as<float>());
    return cudaGetLastError();
}

}  // namespace

PackResult pack_fp8_cuda(const DenseWeight& weight, const MethodOptions& options,
                         CudaBackend& backend) {
    const bool one_scale = options.method.family == MethodFamily::fp8;
    DeviceBody body = TRY(allocate_device_body(
        weight, options, backend,
        DeviceFormat{.kind = decode::Codes::e4m3, .bits = 8, .one_scale = one_scale}));
    PackPlan plan;
    plan.whole = one_scale;
    plan.quantiser = one_scale ? quantise_tensor : quantise_channels;
    TRY(pack_rows(weight, plan, body));
    return make_weight_only<device::Unpack<decode::Codes::e4m3>, __half>(
        std::move(body), one_scale ? device::RowFactor::first : device::RowFactor::scale);
}

}  // namespace bitsweep::quant
