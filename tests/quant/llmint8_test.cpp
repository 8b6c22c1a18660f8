// llmint8-paper beside llmint8-bnb and llmint8-fused: what an outlier column meets.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/quant/support.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep {
namespace {

constexpr std::int64_t out = 50;
constexpr std::int64_t in = 192;
const std::vector<std::int64_t> row_counts{1, 2, 8, 9, 40};

// Rows whose columns 17 and 130 hold values far beyond 6.
std::vector<float> with_planted_outliers(std::int64_t rows) {
    auto x = random_values(11, rows * in, 1.0);
    for (std::int64_t r = 0; r < rows; ++r) {
        x[static_cast<std::size_t>(r * in + 17)] = 60.0f + static_cast<float>(r);
        x[static_cast<std::size_t>(r * in + 130)] = -45.0f;
    }
    return x;
}

struct Planted {
    std::vector<float> weight = random_values(7, out* in, 0.05);
    std::vector<float> bias = random_values(9, out, 0.1);

    DenseWeight dense() const { return dense_weight("w", out, in, weight, bias); }

    std::vector<double> exact(const std::vector<float>& x, std::int64_t rows) const {
        std::vector<double> y;
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t o = 0; o < out; ++o) {
                double sum = bias[static_cast<std::size_t>(o)];
                for (std::int64_t k = 0; k < in; ++k) {
                    sum += static_cast<double>(x[static_cast<std::size_t>(r * in + k)]) *
                           weight[static_cast<std::size_t>(o * in + k)];
                }
                y.push_back(sum);
            }
        }
        return y;
    }
};

double mean_error(const std::vector<float>& y, const std::vector<double>& exact) {
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
        sum += std::fabs(y[i] - exact[i]);
    }
    return sum / static_cast<double>(y.size());
}

TEST(LlmInt8Paper, WithoutOutliersAllThreeGiveTheSameSums) {
    const Planted planted;
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        Bench bench;
        const auto paper = bench.pack("llmint8-paper", planted.dense(), 1e4);
        const auto bnb = bench.pack("llmint8-bnb", planted.dense(), 1e4);
        const auto fused = bench.pack("llmint8-fused", planted.dense(), 1e4);
        for (const std::int64_t rows : row_counts) {
            const auto x = with_planted_outliers(rows);
            const auto y = bench.forward(*paper, x, rows, out);
            EXPECT_EQ(y, bench.forward(*bnb, x, rows, out)) << isa << " rows " << rows;
            EXPECT_EQ(y, bench.forward(*fused, x, rows, out)) << isa << " rows " << rows;
        }
    }
}

TEST(LlmInt8Paper, PlantedOutliersCostItTheLeast) {
    const Planted planted;
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        Bench bench;
        const auto paper = bench.pack("llmint8-paper", planted.dense(), 6.0);
        const auto bnb = bench.pack("llmint8-bnb", planted.dense(), 6.0);
        const auto none = bench.pack("llmint8-bnb", planted.dense(), 0.0);
        for (const std::int64_t rows : row_counts) {
            const auto x = with_planted_outliers(rows);
            const auto exact = planted.exact(x, rows);
            const double of_paper = mean_error(bench.forward(*paper, x, rows, out), exact);
            const double of_bnb = mean_error(bench.forward(*bnb, x, rows, out), exact);
            EXPECT_LT(of_paper, 0.75 * of_bnb) << isa << " rows " << rows;
            EXPECT_LT(of_bnb, mean_error(bench.forward(*none, x, rows, out), exact));
        }
    }
}

TEST(LlmInt8Paper, WhereEveryColumnIsAnOutlierItIsTheProductOfHalves) {
    const Planted planted;
    Bench bench;
    const auto paper = bench.pack("llmint8-paper", planted.dense(), 1e-7);
    for (const std::int64_t rows : row_counts) {
        const auto x = with_planted_outliers(rows);
        const auto y = bench.forward(*paper, x, rows, out);
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t o = 0; o < out; ++o) {
                double sum = quant::round_to_f16(planted.bias[static_cast<std::size_t>(o)]);
                double size = std::fabs(sum);
                for (std::int64_t k = 0; k < in; ++k) {
                    const double term =
                        static_cast<double>(
                            quant::round_to_f16(x[static_cast<std::size_t>(r * in + k)])) *
                        quant::round_to_f16(planted.weight[static_cast<std::size_t>(o * in + k)]);
                    sum += term;
                    size += std::fabs(term);
                }
                const double got = y[static_cast<std::size_t>(r * out + o)];
                EXPECT_LE(std::fabs(got - sum), std::fabs(sum) * 0x1p-11 + size * 1e-6 + 0x1p-24)
                    << "row " << r << " output " << o;
            }
        }
    }
}

TEST(LlmInt8Paper, TheFp16WeightsAreCountedWhereAThresholdNeedsThem) {
    const Planted planted;
    const PackedBytes want = packed_bytes(*parse_method("llmint8-paper"), out, in);
    EXPECT_EQ(want.originals, 2u * out * in);
    EXPECT_EQ(packed_bytes(*parse_method("llmint8-bnb"), out, in).originals, 0u);
    for (const double threshold : {0.0, 6.0}) {
        Bench bench;
        const auto layer = bench.pack("llmint8-paper", planted.dense(), threshold);
        const MemoryBytes got = bench.backend->allocated();
        EXPECT_EQ(got.weight_codes, want.codes + (threshold > 0 ? want.originals : 0));
        EXPECT_EQ(got.weight_scales, want.scales);
        // A decode step reads the codes; of the fp16 weights it reads outlier columns only.
        EXPECT_EQ(layer->bytes_per_call(), want.codes + want.scales + 4 * out);
    }
}

}  // namespace
}  // namespace bitsweep
