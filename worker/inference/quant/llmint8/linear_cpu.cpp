#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/quant/llmint8/llmint8.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/shared/tiles.h"
#include "worker/inference/quant/shared/tokens.h"

namespace bitsweep::quant {
namespace {

constexpr float inverse_127_squared = 6.200012e-05f;  // bitsandbytes' constant of its kernel
constexpr float inverse_127 = 7.874015718698502e-3f;

// The outlier columns of one call: which, and their products.
struct Outliers {
    std::vector<std::int64_t> columns;  // ascending
    const float* x = nullptr;           // fp16 values [rows, in]
    const float* sums = nullptr;        // [rows, out] where they were computed ahead, else null
};

class LlmInt8Layer final : public Linear {
 public:
    LlmInt8Layer(LayerBody body, double threshold)
        : body_(std::move(body)), threshold_(threshold), kernels_(kernels(body_.isa)) {}

    Status forward(const LinearCall& call) const override {
        if (call.outliers != nullptr) {
            call.outliers->add(call.x, call.rows);
        }
        const auto values = static_cast<std::size_t>(call.rows * body_.in);
        auto* x = reinterpret_cast<float*>(
            TRY(call.workspace.reserve(slot_columns, values * sizeof(float))));
        std::transform(call.x, call.x + values, x, round_to_f16);

        const Tokens tokens = TRY(reserve_tokens(body_, call));
        for (std::int64_t row = 0; row < call.rows; ++row) {
            quantize_token(x + row * body_.in, body_.in, threshold_,
                           tokens.codes + row * tokens.stride, tokens.scale + row);
        }
        Outliers outliers;
        outliers.x = x;
        outliers.columns = outlier_columns(x, call.rows);
        for (std::int64_t row = 0; row < call.rows; ++row) {
            for (const std::int64_t column : outliers.columns) {
                tokens.codes[row * tokens.stride + column] = 0;
            }
            finish_token(tokens, row);
        }
        if (!outliers.columns.empty() && call.rows > few_rows) {
            outliers.sums = TRY(many_outlier_sums(call, outliers));
        }
        const TileLayout layout{8, body_.out, body_.in};
        const auto share = [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t tile = first; tile < last; ++tile) {
                for (std::int64_t row = 0; row < call.rows; row += few_rows) {
                    tile_product(tokens, outliers, call, tile, row);
                }
            }
        };
        call.threads.parallel_for(layout.tiles(), 1, std::cref(share));
        return {};
    }

    // The weight as the outlier path sees it, before its rounding to fp16.
    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        std::vector<float> factor(static_cast<std::size_t>(end - begin));
        for (std::int64_t row = begin; row < end; ++row) {
            factor[static_cast<std::size_t>(row - begin)] =
                body_.scales->as<float>()[row] * inverse_127;
        }
        dequantize_int8(body_, factor.data() - begin, begin, end, dst);
    }

    std::uint64_t bytes_per_call() const override { return body_.bytes(); }

    PackedExport export_packed() const override {
        return export_int8(body_, "int8 row-major (CB); weight = code * scale[row] / 127 (SCB)");
    }

 private:
    // Columns with |x| >= threshold in any row; a NaN counts, so that it reaches the output.
    std::vector<std::int64_t> outlier_columns(const float* x, std::int64_t rows) const {
        std::vector<std::int64_t> columns;
        if (threshold_ <= 0) {
            return columns;
        }
        const auto limit = static_cast<float>(threshold_);
        std::vector<std::uint8_t> seen(static_cast<std::size_t>(body_.in), 0);
        for (std::int64_t row = 0; row < rows; ++row, x += body_.in) {
            for (std::int64_t i = 0; i < body_.in; ++i) {
                seen[static_cast<std::size_t>(i)] |= std::fabs(x[i]) < limit ? 0 : 1;
            }
        }
        for (std::int64_t i = 0; i < body_.in; ++i) {
            if (seen[static_cast<std::size_t>(i)] != 0) {
                columns.push_back(i);
            }
        }
        return columns;
    }

    // Sums of all outlier columns by one dense product of the gathered columns.
    Result<const float*> many_outlier_sums(const LinearCall& call, const Outliers& outliers) const {
        const auto count = static_cast<std::int64_t>(outliers.columns.size());
        const std::int64_t gathered = call.rows * count;
        const std::int64_t floats = gathered + body_.out * count + call.rows * body_.out;
        auto* x = reinterpret_cast<float*>(TRY(
            call.workspace.reserve(slot_sums, static_cast<std::size_t>(floats) * sizeof(float))));
        float* w = x + gathered;
        float* sums = w + body_.out * count;
        for (std::int64_t row = 0; row < call.rows; ++row) {
            for (std::int64_t c = 0; c < count; ++c) {
                x[row * count + c] =
                    outliers.x[row * body_.in + outliers.columns[static_cast<std::size_t>(c)]];
            }
        }
        const TileLayout layout{8, body_.out, body_.in};
        const auto share = [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t o = begin; o < end; ++o) {
                for (std::int64_t c = 0; c < count; ++c) {
                    const std::int64_t column = outliers.columns[static_cast<std::size_t>(c)];
                    const int code = layout.code(body_.codes->as<std::uint8_t>(), o, column) - 128;
                    w[o * count + c] = outlier_weight(code, body_.scales->as<float>()[o]);
                }
            }
        };
        call.threads.parallel_for(body_.out, 16, std::cref(share));
        gemm_f32(call.threads, x, w, sums, call.rows, body_.out, count, body_.out);
        return sums;
    }

    // sum[rows][16] of the outlier columns for one tile, from its packed codes.
    void few_outlier_sums(const Outliers& outliers, std::int64_t first, std::int64_t rows,
                          std::int64_t tile, float* sum) const {
        const TileLayout layout{8, body_.out, body_.in};
        const std::int64_t lanes = layout.lanes(tile);
        const float* scb = body_.scales->as<float>() + tile * tile_rows;
        std::fill(sum, sum + rows * tile_rows, 0.0f);
        for (const std::int64_t column : outliers.columns) {
            float weight[tile_rows];
            for (std::int64_t lane = 0; lane < lanes; ++lane) {
                const std::int64_t row = tile * tile_rows + lane;
                const int code = layout.code(body_.codes->as<std::uint8_t>(), row, column) - 128;
                weight[lane] = outlier_weight(code, scb[lane]);
            }
            for (std::int64_t r = 0; r < rows; ++r) {
                const float x = outliers.x[(first + r) * body_.in + column];
                for (std::int64_t lane = 0; lane < lanes; ++lane) {
                    sum[r * tile_rows + lane] += x * weight[lane];
                }
            }
        }
    }

    // C = f16(fma(acc * (SCA * SCB), 1/127^2, bias)); with outlier columns y = f16(C + their sum).
    void tile_product(const Tokens& tokens, const Outliers& outliers, const LinearCall& call,
                      std::int64_t tile, std::int64_t first) const {
        alignas(64) std::int32_t acc[few_rows * tile_rows];
        alignas(64) float sum[few_rows * tile_rows];
        const std::int64_t rows = std::min(few_rows, call.rows - first);
        const std::int64_t begin = tile * tile_rows;
        const std::int64_t lanes = std::min(tile_rows, body_.out - begin);
        exact_tile(body_, kernels_, tokens, first, rows, tile, acc);
        const bool some = !outliers.columns.empty();
        if (some && outliers.sums == nullptr) {
            few_outlier_sums(outliers, first, rows, tile, sum);
        }
        const float* scb = body_.scales->as<float>() + begin;
        const float* bias = body_.bias_or_null();
        for (std::int64_t r = 0; r < rows; ++r) {
            const float sca = tokens.scale[first + r];
            const std::int64_t at = (first + r) * body_.out + begin;
            for (std::int64_t lane = 0; lane < lanes; ++lane) {
                const float scaled =
                    static_cast<float>(acc[r * tile_rows + lane]) * (sca * scb[lane]);
                const float c = round_to_f16(
                    std::fmaf(scaled, inverse_127_squared, bias ? bias[begin + lane] : 0.0f));
                const float extra =
                    outliers.sums ? outliers.sums[at + lane] : sum[r * tile_rows + lane];
                call.y[at + lane] = some ? round_to_f16(c + extra) : c;
            }
        }
    }

    LayerBody body_;
    double threshold_;
    const Kernels* kernels_;
};

}  // namespace

float outlier_weight(int code, float scb) {
    return round_to_f16(static_cast<float>(code) * scb * inverse_127);
}

std::unique_ptr<Linear> make_llmint8(LayerBody body, double threshold) {
    return std::make_unique<LlmInt8Layer>(std::move(body), threshold);
}

}  // namespace bitsweep::quant
