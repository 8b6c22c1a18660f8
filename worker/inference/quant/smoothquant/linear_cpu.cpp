#include <algorithm>

#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/tokens.h"
#include "worker/inference/quant/smoothquant/smoothquant.h"
#include "worker/inference/quant/w8a8/w8a8.h"

namespace bitsweep::quant {
namespace {

class SmoothQuantLayer final : public Linear {
 public:
    SmoothQuantLayer(LayerBody body, InputScope scope, float input_absmax)
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
        w8a8_product(body_, kernels_, tokens, call);
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

std::unique_ptr<Linear> make_smoothquant(LayerBody body, InputScope scope, float input_absmax) {
    return std::make_unique<SmoothQuantLayer>(std::move(body), scope, input_absmax);
}

}  // namespace bitsweep::quant
