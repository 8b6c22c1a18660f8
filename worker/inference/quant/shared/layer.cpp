#include "worker/inference/quant/shared/layer.h"

#include <algorithm>
#include <cstring>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

// 2^20 floats, 4 MiB: large enough for a dense product to run at speed, small beside a layer.
constexpr std::int64_t tile_values = std::int64_t{1} << 20;

}  // namespace

Result<LayerBody> allocate_body(const DenseWeight& weight, const MethodOptions& options,
                                Backend& backend) {
    TRY(check_shape(weight));
    LayerBody body;
    body.name = weight.name;
    body.out = weight.out_features;
    body.in = weight.in_features;
    body.isa = TRY(chosen_isa());
    const PackedBytes bytes = packed_bytes(options.method, body.out, body.in);
    body.codes =
        TRY(backend.allocate(bytes.codes, options.category.value_or(MemoryCategory::weight_codes)));
    if (bytes.scales > 0) {
        body.scales = TRY(backend.allocate(
            bytes.scales, options.category.value_or(MemoryCategory::weight_scales)));
    }
    if (!weight.bias.empty()) {
        const std::size_t size = weight.bias.size() * sizeof(float);
        body.bias = TRY(backend.allocate(size, MemoryCategory::other_weights));
        std::memcpy(body.bias->data(), weight.bias.data(), size);
    }
    return body;
}

void reference_product(const Linear& layer, const LayerBody& body, const LinearCall& call,
                       std::int64_t begin, std::int64_t end) {
    std::vector<float> weights(static_cast<std::size_t>(body.in));
    for (std::int64_t o = begin; o < end; ++o) {
        layer.dequantize_rows(o, o + 1, weights.data());
        for (std::int64_t r = 0; r < call.rows; ++r) {
            double sum = body.bias ? body.bias_or_null()[o] : 0.0;
            for (std::int64_t i = 0; i < body.in; ++i) {
                sum += static_cast<double>(weights[static_cast<std::size_t>(i)]) *
                       call.x[r * body.in + i];
            }
            call.y[r * body.out + o] = static_cast<float>(sum);
        }
    }
}

WeightOnlyLayer::WeightOnlyLayer(LayerBody body)
    : body_(std::move(body)), kernels_(kernels(body_.isa)) {}

Status WeightOnlyLayer::forward(const LinearCall& call) const {
    if (call.outliers != nullptr) {
        call.outliers->add(call.x, call.rows);
    }
    if (call.rows > few_rows) {
        return many(call);
    }
    if (kernels_ != nullptr) {
        return few(call);
    }
    call.threads.parallel_for(body_.out, 1, [&](std::int64_t begin, std::int64_t end) {
        reference_product(*this, body_, call, begin, end);
    });
    return {};
}

// Nothing dequantised survives the call: one tile at a time, in the workspace.
Status WeightOnlyLayer::many(const LinearCall& call) const {
    const std::int64_t most = std::max<std::int64_t>(tile_values / body_.in, tile_rows);
    const std::int64_t rows = std::min(body_.out, most / tile_rows * tile_rows);
    const std::size_t bytes = static_cast<std::size_t>(rows * body_.in) * sizeof(float);
    auto* tile = reinterpret_cast<float*>(TRY(call.workspace.reserve(slot_tile, bytes)));
    for (std::int64_t begin = 0; begin < body_.out; begin += rows) {
        const std::int64_t count = std::min(rows, body_.out - begin);
        call.threads.parallel_for(count, tile_rows, [&](std::int64_t from, std::int64_t to) {
            dequantize_rows(begin + from, begin + to, tile + from * body_.in);
        });
        gemm_f32(call.threads, call.x, tile, call.y + begin, call.rows, count, body_.in, body_.out);
    }
    if (const float* bias = body_.bias_or_null()) {
        for (std::int64_t r = 0; r < call.rows; ++r) {
            float* y = call.y + r * body_.out;
            for (std::int64_t o = 0; o < body_.out; ++o) {
                y[o] += bias[o];
            }
        }
    }
    return {};
}

void product_by_tiles(const Linear& layer, const LayerBody& body, const LinearCall& call,
                      const TileKernel& kernel) {
    const TileLayout layout{8, body.out, body.in};
    const float* bias = body.bias_or_null();
    const auto share = [&](std::int64_t first, std::int64_t last) {
        alignas(64) float y[few_rows * tile_rows];
        for (std::int64_t tile = first; tile < last; ++tile) {
            const std::int64_t begin = tile * tile_rows;
            if (layout.lanes(tile) < tile_rows) {
                reference_product(layer, body, call, begin, body.out);
                continue;
            }
            kernel(tile, y);
            for (std::int64_t r = 0; r < call.rows; ++r) {
                float* out = call.y + r * body.out + begin;
                for (std::int64_t lane = 0; lane < tile_rows; ++lane) {
                    out[lane] = y[r * tile_rows + lane] + (bias ? bias[begin + lane] : 0.0f);
                }
            }
        }
    };
    call.threads.parallel_for(layout.tiles(), 1, std::cref(share));
}

Result<Digits> make_digits(const LayerBody& body, const LinearCall& call, const Kernels& kernels,
                           std::int64_t group, int code_offset) {
    Digits out;
    DigitsJob& job = out.job;
    job.x = call.x;
    job.rows = call.rows;
    job.inputs = body.in;
    job.group = group;
    job.groups = (body.in + group - 1) / group;
    // One line more: planes a power of two apart would meet in the same sets of the cache.
    job.stride = (body.in + 63) / 64 * 64 + 64;
    job.code_offset = code_offset;
    const auto digit_bytes = static_cast<std::size_t>(call.rows * digit_planes * job.stride);
    const auto scales = static_cast<std::size_t>(call.rows * job.groups);
    const std::size_t bytes = digit_bytes + scales * 4 * (1 + digit_planes);
    std::byte* memory = TRY(call.workspace.reserve(slot_digits, bytes));
    job.digits = reinterpret_cast<std::int8_t*>(memory);
    job.scale = reinterpret_cast<float*>(memory + digit_bytes);
    job.start = reinterpret_cast<std::int32_t*>(memory + digit_bytes + scales * 4);
    kernels.digits(job);
    return out;
}

Status grouped_product(const Linear& layer, const LayerBody& body, const LinearCall& call,
                       const Kernels& kernels, const GroupedWeights& weights) {
    const Digits digits =
        TRY(make_digits(body, call, kernels, weights.group, 1 << (weights.bits - 1)));
    const TileLayout layout{weights.bits, body.out, body.in};
    const auto kernel = kernels.grouped[weights.bits];
    product_by_tiles(layer, body, call, [&](std::int64_t tile, float* y) {
        GroupedJob job;
        job.codes = body.codes->as<std::uint8_t>() + layout.tile_offset(tile);
        job.inputs = layout.padded_inputs();
        job.group = weights.group;
        job.groups = digits.job.groups;
        if (weights.scales != nullptr) {
            job.scales = weights.scales + tile * tile_rows * job.groups;
        }
        if (weights.zeros != nullptr) {
            job.zeros = weights.zeros + tile * tile_rows * job.groups;
            job.start_to_zero = 1.0f / static_cast<float>(1 << (weights.bits - 1));
        }
        job.digits = digits.job.digits;
        job.stride = digits.job.stride;
        job.x_scale = digits.job.scale;
        job.start = digits.job.start;
        job.rows = call.rows;
        job.y = y;
        kernel(job);
        if (weights.row_scale != nullptr) {
            for (std::int64_t i = 0; i < call.rows * tile_rows; ++i) {
                y[i] *= weights.row_scale[tile * tile_rows + i % tile_rows];
            }
        }
    });
    return {};
}

}  // namespace bitsweep::quant
