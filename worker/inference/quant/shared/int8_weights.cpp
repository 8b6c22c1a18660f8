#include "worker/inference/quant/shared/int8_weights.h"

#include <vector>

#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {

Result<LayerBody> pack_int8_weights(const DenseWeight& weight, const MethodOptions& options,
                                    Backend& backend) {
    LayerBody body = TRY(allocate_body(weight, options, backend));
    const TileLayout layout{8, body.out, body.in};
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(body.in));
    TRY(for_each_row(weight, Element::f32, [&](std::int64_t row, const float* values) -> Status {
        float largest = absmax(values, body.in);
        if (weight.grid) {
            TRY(weight.grid(row, row + 1, &largest));
        }
        codes_absmax127(values, body.in, largest, codes.data());
        layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data());
        body.scales->as<float>()[row] = largest / 127.0f;
        return {};
    }));
    return body;
}

Status check_exact_width(const DenseWeight& weight) {
    if (weight.in_features > exact_inputs_limit) {
        return make_error(ErrorCode::invalid_input,
                          weight.name + ": " + std::to_string(weight.in_features) +
                              " inputs, but int32 sums of 8-bit products are exact up to " +
                              std::to_string(exact_inputs_limit) + ": use int8");
    }
    return {};
}

void dequantize_int8(const LayerBody& body, const float* factor, std::int64_t begin,
                     std::int64_t end, float* dst) {
    const TileLayout layout{8, body.out, body.in};
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(body.in));
    for (std::int64_t row = begin; row < end; ++row, dst += body.in) {
        const float scale = factor[row];
        layout.unpack_row(body.codes->as<std::uint8_t>(), row, codes.data());
        for (std::int64_t i = 0; i < body.in; ++i) {
            dst[i] = static_cast<float>(codes[static_cast<std::size_t>(i)] - 128) * scale;
        }
    }
}

PackedExport export_int8(const LayerBody& body, std::string layout_text) {
    const TileLayout layout{8, body.out, body.in};
    PackedExport out;
    out.codes_shape = {body.out, body.in};
    out.scales_shape = {body.out};
    out.layout = std::move(layout_text);
    out.codes.resize(static_cast<std::size_t>(body.out * body.in));
    for (std::int64_t row = 0; row < body.out; ++row) {
        layout.unpack_row(body.codes->as<std::uint8_t>(), row, out.codes.data() + row * body.in);
    }
    for (std::uint8_t& code : out.codes) {
        code ^= 0x80u;  // offset 128 -> two's complement
    }
    const auto* scales = body.scales->as<float>();
    out.scales.assign(scales, scales + body.out);
    return out;
}

}  // namespace bitsweep::quant
