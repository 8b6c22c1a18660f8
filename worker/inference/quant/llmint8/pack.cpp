#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "worker/inference/quant/llmint8/llmint8.h"
#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"
#include "worker/inference/quant/shared/tokens.h"

namespace bitsweep::quant {
namespace {

// bitsandbytes keeps the bias in the dtype of the layer, fp16.
Result<LayerBody> allocate_with_half_bias(const DenseWeight& weight, const MethodOptions& options,
                                          Backend& backend) {
    LayerBody body = TRY(allocate_body(weight, options, backend));
    for (std::size_t o = 0; o < weight.bias.size(); ++o) {
        body.bias->as<float>()[o] = round_to_f16(weight.bias[o]);
    }
    return body;
}

// Codes of one row, its scale and, with zero points, its zero and the sum of its codes. `range`: of
// the row or of the tensor.
void quantize_row(const LayerBody& body, const Int8Scales& scales, const float* values,
                  const Range& range, std::int64_t row, std::int8_t* codes) {
    float* scale = body.scales->as<float>() + row;
    if (!scales.zero_points) {
        quantize_token_by(values, body.in, std::max(range.most, -range.least), codes, scale);
        return;
    }
    const ZeroPoint point = zero_point(range.least, range.most);
    codes_by_zero_point(values, body.in, point, codes);
    *scale = point.half_range;
    auto* zeros = body.scales->as<std::int32_t>() + body.out;
    zeros[row] = point.zero;
    zeros[body.out + row] = std::accumulate(codes, codes + body.in, 0);
}

}  // namespace

Result<Range> range_of(const DenseWeight& weight) {
    Range range;
    TRY(for_each_row(weight, Element::f16, [&](std::int64_t, const float* values) -> Status {
        range.add(values, weight.in_features, 0);
        return {};
    }));
    return range;
}

Result<std::unique_ptr<Buffer>> allocate_originals(const DenseWeight& weight,
                                                   const MethodOptions& options, Backend& backend) {
    const PackedBytes bytes = packed_bytes(options.method, weight.out_features, weight.in_features);
    if (bytes.originals == 0 || options.threshold <= 0) {
        return std::unique_ptr<Buffer>();
    }
    return backend.allocate(bytes.originals,
                            options.category.value_or(MemoryCategory::weight_codes));
}

Status check_llmint8_options(const DenseWeight& weight, const MethodOptions& options) {
    if (!(options.threshold >= 0) || !std::isfinite(options.threshold)) {
        return make_error(ErrorCode::invalid_input,
                          "threshold " + std::to_string(options.threshold) +
                              ": an outlier threshold is 0 (no decomposition) or positive");
    }
    return check_exact_width(weight);
}

PackResult pack_llmint8(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    TRY(check_llmint8_options(weight, options));
    LayerBody body = TRY(allocate_with_half_bias(weight, options, backend));
    auto originals = TRY(allocate_originals(weight, options, backend));
    const TileLayout layout{8, body.out, body.in};
    std::vector<std::int8_t> codes(static_cast<std::size_t>(body.in));
    std::vector<std::uint8_t> stored(codes.size());
    const Int8Scales scales = int8_scales(options.method);
    Range all;
    if (scales.weight_by_tensor) {
        all = TRY(range_of(weight));
    }
    TRY(for_each_row(weight, Element::f16, [&](std::int64_t row, const float* values) -> Status {
        Range own = all;
        own.add(values, body.in, 0);
        quantize_row(body, scales, values, own, row, codes.data());
        for (std::size_t i = 0; i < codes.size(); ++i) {
            stored[i] = static_cast<std::uint8_t>(codes[i] + 128);
        }
        layout.pack_row(body.codes->as<std::uint8_t>(), row, stored.data());
        for (std::int64_t i = 0; originals && i < body.in; ++i) {
            originals->as<std::uint16_t>()[i * body.out + row] = f32_to_f16(values[i]);
        }
        return {};
    }));
    return make_llmint8(std::move(body), {options.threshold, scales, std::move(originals)});
}

Result<std::unique_ptr<Linear>> llmint8_from_codes(const DenseWeight& weight,
                                                   std::span<const std::int8_t> cb,
                                                   std::span<const float> scb,
                                                   const MethodOptions& options, Backend& backend) {
    TRY(check_llmint8_options(weight, options));
    if (std::cmp_not_equal(cb.size(), weight.out_features * weight.in_features) ||
        std::cmp_not_equal(scb.size(), weight.out_features)) {
        return make_error(ErrorCode::invalid_input, weight.name + ": " + std::to_string(cb.size()) +
                                                        " codes and " + std::to_string(scb.size()) +
                                                        " scales do not fit [" +
                                                        std::to_string(weight.out_features) + ", " +
                                                        std::to_string(weight.in_features) + "]");
    }
    LayerBody body = TRY(allocate_with_half_bias(weight, options, backend));
    const TileLayout layout{8, body.out, body.in};
    std::vector<std::uint8_t> stored(static_cast<std::size_t>(body.in));
    for (std::int64_t row = 0; row < body.out; ++row) {
        for (std::int64_t i = 0; i < body.in; ++i) {
            stored[static_cast<std::size_t>(i)] =
                static_cast<std::uint8_t>(cb[static_cast<std::size_t>(row * body.in + i)] + 128);
        }
        layout.pack_row(body.codes->as<std::uint8_t>(), row, stored.data());
        body.scales->as<float>()[row] = scb[static_cast<std::size_t>(row)];
    }
    return make_llmint8(std::move(body), {options.threshold, {}, nullptr});
}

}  // namespace bitsweep::quant
