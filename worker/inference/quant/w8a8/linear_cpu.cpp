#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/tiles.h"
#include "worker/inference/quant/shared/tokens.h"
#include "worker/inference/quant/w8a8/w8a8.h"

namespace bitsweep::quant {
namespace {

// y = acc * (absmax(x) / 127 * weight scale) + bias, float32; up to few_rows rows of one tile.
void tile_product(const LayerBody& body, const Kernels* kernels, const Tokens& tokens,
                  const LinearCall& call, std::int64_t tile, std::int64_t first) {
    alignas(64) std::int32_t acc[few_rows * tile_rows];
    const std::int64_t rows = std::min(few_rows, call.rows - first);
    exact_tile(body, kernels, tokens, first, rows, tile, acc);
    const std::int64_t begin = tile * tile_rows;
    const std::int64_t lanes = TileLayout{8, body.out, body.in}.lanes(tile);
    const float* scales = body.scales->as<float>() + begin;
    const float* bias = body.bias_or_null();
    for (std::int64_t r = 0; r < rows; ++r) {
        const float scale = tokens.scale[first + r] / 127.0f;
        float* y = call.y + (first + r) * body.out + begin;
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            const auto sum = static_cast<float>(acc[r * tile_rows + lane]);
            y[lane] = sum * (scale * scales[lane]) + (bias ? bias[begin + lane] : 0.0f);
        }
    }
}

// Outputs of finished tokens: exact int32 sums, scaled.
void product(const LayerBody& body, const Kernels* kernels, const Tokens& tokens,
             const LinearCall& call) {
    const auto share = [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t tile = first; tile < last; ++tile) {
            for (std::int64_t row = 0; row < call.rows; row += few_rows) {
                tile_product(body, kernels, tokens, call, tile, row);
            }
        }
    };
    call.threads.parallel_for(TileLayout{8, body.out, body.in}.tiles(), 1, std::cref(share));
}

class W8A8Layer final : public Linear {
 public:
    W8A8Layer(LayerBody body, InputScope scope, float input_absmax)
        : body_(std::move(body)),
          kernels_(kernels(body_.isa)),
          scope_(scope),
          input_absmax_(input_absmax) {}

    Status forward(const LinearCall& call) const override {
        if (call.outliers != nullptr) {
            call.outliers->add(call.x, call.rows);
        }
        const Tokens tokens = TRY(reserve_tokens(body_, call));
        const float shared = shared_absmax(call);
        for (std::int64_t row = 0; row < call.rows; ++row) {
            const float* x = call.x + row * body_.in;
            std::int8_t* codes = tokens.codes + row * tokens.stride;
            if (scope_ == InputScope::token) {
                quantize_token(x, body_.in, 0, codes, tokens.scale + row);
            } else {
                quantize_token_by(x, body_.in, shared, codes, tokens.scale + row);
            }
            finish_token(tokens, row);
        }
        product(body_, kernels_, tokens, call);
        return {};
    }

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        dequantize_int8(body_, body_.scales->as<float>(), begin, end, dst);
    }

    std::uint64_t bytes_per_call() const override { return body_.bytes(); }

    PackedExport export_packed() const override {
        return export_int8(body_, "int8 row-major; weight = code * scale[row]");
    }

 private:
    // Of all rows; of no meaning where each row has its own.
    float shared_absmax(const LinearCall& call) const {
        switch (scope_) {
            case InputScope::token:
                return 0;
            case InputScope::tensor:
                return absmax(call.x, call.rows * body_.in);
            case InputScope::fixed:
                return input_absmax_;
        }
        return 0;
    }

    LayerBody body_;
    const Kernels* kernels_;
    InputScope scope_;
    float input_absmax_;
};

}  // namespace

std::unique_ptr<Linear> make_w8a8(LayerBody body, InputScope scope, float input_absmax) {
    return std::make_unique<W8A8Layer>(std::move(body), scope, input_absmax);
}

}  // namespace bitsweep::quant
