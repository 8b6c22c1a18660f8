// A method whose activations stay in floating point, on a CUDA device: up to 8 rows by plain
// arithmetic and up to 64 on tensor cores, both from the packed codes; more by cuBLASLt from
// dequantised tiles of rows that stay in the second-level cache. Dense codes go to cuBLASLt from 9
// rows on.
#pragma once

#include <algorithm>
#include <type_traits>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/dequantise.cuh"
#include "worker/inference/quant/shared/device_layer.h"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/some_rows.cuh"
#include "worker/inference/quant/shared/some_rows_hopper.cuh"

namespace bitsweep::quant {

// Rows of a dequantised tile: small tiles stay in the second-level cache (50 MB on an H100), but a
// product wants two waves of blocks, 264 on an H100, of some 128 x 256 results.
inline constexpr std::int64_t least_tile_bytes = std::int64_t{24} << 20;
inline constexpr std::int64_t most_tile_bytes = std::int64_t{128} << 20;
inline constexpr std::int64_t tile_results = 264 * 128 * 256;

inline std::int64_t tile_rows_for(std::int64_t rows, std::int64_t row_bytes) {
    const std::int64_t wanted = tile_results / rows;
    const std::int64_t bounded =
        std::clamp(wanted, least_tile_bytes / row_bytes,
                   std::max<std::int64_t>(most_tile_bytes / row_bytes, 64));
    return std::max<std::int64_t>(bounded / 64 * 64, 64);
}

// `X`: the type of activations and, in a product of many rows, of weights.
template <class Weights, class X>
class WeightOnlyDevice final : public DeviceLayer {
 public:
    WeightOnlyDevice(DeviceBody body, device::RowFactor factor)
        : DeviceLayer(std::move(body)), factor_(factor) {}

    InputType input_type() const override {
        return std::is_same_v<X, float>    ? InputType::f32
               : std::is_same_v<X, __half> ? InputType::f16
                                           : InputType::bf16;
    }
    bool queues_only(std::int64_t) const override { return true; }

    Status multiply(const DeviceCall& call) const override {
        const DeviceMatrix& m = body_.matrix;
        const device::FewRows few{call.x,
                                  input_stride(m.in_features),
                                  static_cast<int>(call.rows),
                                  call.y,
                                  call.y_stride,
                                  call.accumulate,
                                  factor_};
        if (call.rows <= device::few_rows_limit) {
            return cuda_status(device::few_rows<Weights, X>(m, few, call.backend.stream()),
                               body_.name);
        }
        if constexpr (std::is_same_v<X, __half> && !is_dense_half) {
            if (call.rows <= device::some_rows_limit) {
                if constexpr (device::hopper::serves<Weights>) {
                    if (call.backend.compute_capability() == 90 && device::hopper::pays(m)) {
                        return cuda_status(
                            device::hopper::some_rows<Weights>(
                                m, few, call.backend.multiprocessors(), call.backend.stream()),
                            body_.name);
                    }
                }
                return cuda_status(device::some_rows<Weights>(m, few, call.backend.stream()),
                                   body_.name);
            }
        }
        TRY(cuda_status(start_with_bias(m, call), body_.name));
        if (is_dense()) {
            return product(call, m.codes,
                           std::int64_t{m.row_chunks} * decode::weights_per_chunk(m.kind), 0,
                           m.rows);
        }
        return multiply_tiles(call);
    }

    Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count, float* y,
                   std::int64_t stride, cudaStream_t stream) const override {
        const device::DequantiseRows rows{ids, first, count, stride, factor_};
        return cuda_status(device::dequantise<Weights>(body_.matrix, rows, y, stream), body_.name);
    }

 private:
    static constexpr bool is_dense_half =
        std::is_same_v<Weights, device::Unpack<decode::Codes::f16>>;

    bool is_dense() const {
        const decode::Codes kind = body_.matrix.kind;
        return kind == decode::Codes::f32 || kind == decode::Codes::f16 ||
               kind == decode::Codes::bf16;
    }

    Status multiply_tiles(const DeviceCall& call) const {
        const DeviceMatrix& m = body_.matrix;
        const std::int64_t stride = input_stride(m.in_features);
        const std::int64_t row_bytes = stride * static_cast<std::int64_t>(sizeof(X));
        const std::int64_t at_once = std::min(m.rows, tile_rows_for(call.rows, row_bytes));
        auto* tile = reinterpret_cast<X*>(TRY(call.workspace.reserve(
            slot_dense, static_cast<std::size_t>(at_once) * static_cast<std::size_t>(row_bytes))));
        for (std::int64_t first = 0; first < m.rows; first += at_once) {
            const std::int64_t count = std::min(at_once, m.rows - first);
            const device::DequantiseRows rows{nullptr, first, count, stride, factor_};
            TRY(cuda_status(device::dequantise<Weights>(m, rows, tile, call.backend.stream()),
                            body_.name));
            TRY(product(call, tile, stride, first, count));
        }
        return {};
    }

    // Outputs [first, first + count) from dense rows.
    Status product(const DeviceCall& call, const void* w, std::int64_t w_stride, std::int64_t first,
                   std::int64_t count) const {
        const DeviceMatrix& m = body_.matrix;
        return call.backend.gemm().multiply(
            GemmCall{.type = std::is_same_v<X, float>    ? GemmType::f32
                             : std::is_same_v<X, __half> ? GemmType::f16
                                                         : GemmType::bf16,
                     .w = w,
                     .w_stride = w_stride,
                     .x = call.x,
                     .x_stride = input_stride(m.in_features),
                     .y = call.y + first,
                     .y_stride = call.y_stride,
                     .out = count,
                     .rows = call.rows,
                     .in = m.in_features,
                     .accumulate = call.accumulate || m.bias != nullptr});
    }

    device::RowFactor factor_;
};

template <class Weights, class X>
std::unique_ptr<Linear> make_weight_only(DeviceBody body,
                                         device::RowFactor factor = device::RowFactor::none) {
    return std::make_unique<WeightOnlyDevice<Weights, X>>(std::move(body), factor);
}

}  // namespace bitsweep::quant
