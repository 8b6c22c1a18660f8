#include "worker/inference/quant/shared/tokens.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {

Result<Tokens> reserve_tokens(const LayerBody& body, const LinearCall& call) {
    Tokens tokens;
    tokens.rows = call.rows;
    tokens.inputs = body.in;
    tokens.stride = (body.in + 63) / 64 * 64;
    const auto code_bytes = static_cast<std::size_t>(call.rows * tokens.stride);
    const auto rows = static_cast<std::size_t>(call.rows);
    std::byte* memory = TRY(call.workspace.reserve(slot_digits, code_bytes + rows * 8));
    tokens.codes = reinterpret_cast<std::int8_t*>(memory);
    tokens.scale = reinterpret_cast<float*>(memory + code_bytes);
    tokens.start = reinterpret_cast<std::int32_t*>(memory + code_bytes + rows * 4);
    for (std::int64_t row = 0; row < call.rows; ++row) {
        std::memset(tokens.codes + row * tokens.stride + body.in, 0,
                    static_cast<std::size_t>(tokens.stride - body.in));
    }
    return tokens;
}

void quantize_token(const float* x, std::int64_t count, double threshold, std::int8_t* codes,
                    float* scale) {
    const float limit =
        threshold > 0 ? static_cast<float>(threshold) : std::numeric_limits<float>::infinity();
    const bool all = threshold <= 0;
    float largest = 0;
    bool nan = false;
    for (std::int64_t i = 0; i < count; ++i) {
        const float magnitude = std::fabs(x[i]);
        nan |= std::isnan(magnitude);
        largest = (all || magnitude < limit) && magnitude > largest ? magnitude : largest;
    }
    *scale = nan ? std::numeric_limits<float>::quiet_NaN() : largest;
    const float factor = largest > 0 && std::isfinite(largest) ? 127.0f / largest : 0.0f;
    const bool usable = std::isfinite(factor) && !nan;
    for (std::int64_t i = 0; i < count; ++i) {
        const bool counts = usable && (all || std::fabs(x[i]) < limit);
        const float scaled = counts ? x[i] * factor : 0.0f;
        codes[i] = static_cast<std::int8_t>(round_even(std::isfinite(scaled) ? scaled : 0.0f));
    }
}

void quantize_token_by(const float* x, std::int64_t count, float largest, std::int8_t* codes,
                       float* scale) {
    const float exact = largest > 0 ? 127.0f / largest : 0.0f;
    const float factor = std::isfinite(exact) ? exact : 0.0f;  // subnormal: all codes are 0
    bool finite = std::isfinite(largest);
    for (std::int64_t i = 0; i < count; ++i) {
        const float scaled = std::clamp(x[i] * factor, -127.0f, 127.0f);
        finite &= std::isfinite(x[i]);
        codes[i] = static_cast<std::int8_t>(finite ? round_even(scaled) : 0.0f);
    }
    *scale = finite ? largest : std::numeric_limits<float>::quiet_NaN();
}

void finish_token(const Tokens& tokens, std::int64_t row) {
    const std::int8_t* codes = tokens.codes + row * tokens.stride;
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < tokens.inputs; ++i) {
        sum += codes[i];
    }
    tokens.start[row] = -128 * sum;
}

void exact_tile(const LayerBody& body, const Kernels* kernels, const Tokens& tokens,
                std::int64_t first_row, std::int64_t rows, std::int64_t tile, std::int32_t* acc) {
    const TileLayout layout{8, body.out, body.in};
    const std::uint8_t* codes = body.codes->as<std::uint8_t>() + layout.tile_offset(tile);
    const std::int64_t lanes = layout.lanes(tile);
    if (kernels != nullptr && lanes == tile_rows) {
        ExactJob job;
        job.codes = codes;
        job.inputs = layout.padded_inputs();
        job.digits = tokens.codes + first_row * tokens.stride;
        job.stride = tokens.stride;
        job.start = tokens.start + first_row;
        job.rows = rows;
        job.acc = acc;
        kernels->exact(job);
        return;
    }
    std::fill(acc, acc + rows * tile_rows, 0);
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int8_t* x = tokens.codes + (first_row + r) * tokens.stride;
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            std::int32_t sum = 0;
            for (std::int64_t i = 0; i < body.in; ++i) {
                const std::int32_t code = codes[(i / 4 * lanes + lane) * 4 + i % 4];
                sum += (code - 128) * x[i];
            }
            acc[r * tile_rows + lane] = sum;
        }
    }
}

}  // namespace bitsweep::quant
