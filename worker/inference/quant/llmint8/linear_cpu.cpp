#include <algorithm>
#include <cmath>
#include <limits>
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

// Of weights with zero points, behind their half ranges.
struct WeightZeros {
    const std::int32_t* zeros;
    const std::int32_t* sums;  // of the codes of each row
};

WeightZeros weight_zeros(const LayerBody& body) {
    const auto* zeros = body.scales->as<std::int32_t>() + body.out;
    return {zeros, zeros + body.out};
}

// The outlier columns of one call: which, and their products.
struct Outliers {
    std::vector<std::int64_t> columns;    // ascending
    const float* x = nullptr;             // fp16 values [rows, in]
    const float* sums = nullptr;          // [rows, out] where they were computed ahead, else null
    const std::int32_t* zeros = nullptr;  // [rows] of the activations' codes
};

class LlmInt8Layer final : public Linear {
 public:
    LlmInt8Layer(LayerBody body, LlmInt8Parts parts)
        : body_(std::move(body)),
          threshold_(parts.threshold),
          scales_(parts.scales),
          originals_(std::move(parts.originals)),
          kernels_(kernels(body_.isa)) {}

    Status forward(const LinearCall& call) const override {
        if (call.outliers != nullptr) {
            call.outliers->add(call.x, call.rows);
        }
        const auto values = static_cast<std::size_t>(call.rows * body_.in);
        auto* x = reinterpret_cast<float*>(
            TRY(call.workspace.reserve(slot_columns, values * sizeof(float))));
        std::transform(call.x, call.x + values, x, round_to_f16);

        const Tokens tokens = TRY(reserve_tokens(body_, call));
        std::vector<std::int32_t> zeros(static_cast<std::size_t>(call.rows), 0);
        quantize(x, tokens, zeros);
        Outliers outliers;
        outliers.x = x;
        outliers.columns = outlier_columns(x, call.rows);
        for (std::int64_t row = 0; row < call.rows; ++row) {
            for (const std::int64_t column : outliers.columns) {
                tokens.codes[row * tokens.stride + column] =
                    static_cast<std::int8_t>(-zeros[static_cast<std::size_t>(row)]);
            }
            finish_token(tokens, row);
        }
        outliers.zeros = zeros.data();
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

    // The weight as llmint8-bnb's outlier path sees it, before its rounding to fp16.
    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        const TileLayout layout{8, body_.out, body_.in};
        for (std::int64_t row = begin; scales_.zero_points && row < end; ++row) {
            const float step = body_.scales->as<float>()[row] * inverse_127;
            for (std::int64_t i = 0; i < body_.in; ++i) {
                const int code = layout.code(body_.codes->as<std::uint8_t>(), row, i) - 128;
                *dst++ = static_cast<float>(code + weight_zeros(body_).zeros[row]) * step;
            }
        }
        if (scales_.zero_points) {
            return;
        }
        std::vector<float> factor(static_cast<std::size_t>(end - begin));
        for (std::int64_t row = begin; row < end; ++row) {
            factor[static_cast<std::size_t>(row - begin)] =
                body_.scales->as<float>()[row] * inverse_127;
        }
        dequantize_int8(body_, factor.data() - begin, begin, end, dst);
    }

    std::uint64_t bytes_per_call() const override { return body_.bytes(); }

    PackedExport export_packed() const override {
        return export_int8(body_,
                           scales_.zero_points
                               ? "int8 row-major; weight = (code + zero) * scale[row] / 127"
                               : "int8 row-major (CB); weight = code * scale[row] / 127 (SCB)");
    }

 private:
    // Codes and scales of every row, and the zeros of its codes.
    void quantize(const float* x, const Tokens& tokens, std::vector<std::int32_t>& zeros) const {
        const bool shared = scales_.input == InputScope::tensor;
        Range all;
        if (shared) {
            all.add(x, tokens.rows * body_.in, threshold_);
        }
        for (std::int64_t row = 0; row < tokens.rows; ++row, x += body_.in) {
            std::int8_t* codes = tokens.codes + row * tokens.stride;
            float* scale = tokens.scale + row;
            if (!shared && !scales_.zero_points) {
                quantize_token(x, body_.in, threshold_, codes, scale);
                continue;
            }
            Range own = all;
            if (!shared) {
                own.add(x, body_.in, threshold_);
            }
            if (scales_.zero_points) {
                const ZeroPoint point = zero_point(own.least, own.most);
                codes_by_zero_point(x, body_.in, point, codes);
                zeros[static_cast<std::size_t>(row)] = point.zero;
                *scale = point.half_range;
            } else {
                quantize_token_by(x, body_.in, std::max(own.most, -own.least), codes, scale);
            }
            *scale = own.finite ? *scale : std::numeric_limits<float>::quiet_NaN();
        }
    }

    // What zero points on both sides add to the sum of code products.
    std::int64_t zero_share(const Tokens& tokens, std::int64_t row, std::int64_t x_zero,
                            std::int64_t o) const {
        const WeightZeros weight = weight_zeros(body_);
        const std::int64_t x_sum = -tokens.start[row] / 128;
        return x_zero * weight.sums[o] + weight.zeros[o] * (x_sum + body_.in * x_zero);
    }

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

    // v of the README.
    float weight_of_outlier(const TileLayout& layout, std::int64_t row, std::int64_t column) const {
        if (originals_) {
            return f16_to_f32(originals_->as<std::uint16_t>()[column * body_.out + row]);
        }
        const int code = layout.code(body_.codes->as<std::uint8_t>(), row, column) - 128;
        return outlier_weight(code, body_.scales->as<float>()[row]);
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
                    w[o * count + c] = weight_of_outlier(layout, o, column);
                }
            }
        };
        call.threads.parallel_for(body_.out, 16, std::cref(share));
        gemm_f32(call.threads, x, w, sums, call.rows, body_.out, count, body_.out);
        return sums;
    }

    // sum[rows][16] of the outlier columns for one tile.
    void few_outlier_sums(const Outliers& outliers, std::int64_t first, std::int64_t rows,
                          std::int64_t tile, float* sum) const {
        const TileLayout layout{8, body_.out, body_.in};
        const std::int64_t lanes = layout.lanes(tile);
        std::fill(sum, sum + rows * tile_rows, 0.0f);
        for (const std::int64_t column : outliers.columns) {
            float weight[tile_rows];
            for (std::int64_t lane = 0; lane < lanes; ++lane) {
                weight[lane] = weight_of_outlier(layout, tile * tile_rows + lane, column);
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
                auto total = static_cast<float>(acc[r * tile_rows + lane]);
                if (scales_.zero_points) {
                    total = static_cast<float>(
                        acc[r * tile_rows + lane] +
                        zero_share(tokens, first + r, outliers.zeros[first + r], begin + lane));
                }
                const float scaled = total * (sca * scb[lane]);
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
    Int8Scales scales_;
    std::unique_ptr<Buffer> originals_;  // fp16 [in][out] or null
    const Kernels* kernels_;
};

}  // namespace

float outlier_weight(int code, float scb) {
    return round_to_f16(static_cast<float>(code) * scb * inverse_127);
}

std::unique_ptr<Linear> make_llmint8(LayerBody body, LlmInt8Parts parts) {
    return std::make_unique<LlmInt8Layer>(std::move(body), std::move(parts));
}

}  // namespace bitsweep::quant
