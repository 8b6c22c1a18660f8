// The ablations of LLM.int8()'s Table 1 against their definition in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/quant/support.h"
#include "worker/inference/quant/llmint8/scales.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep {
namespace {

constexpr std::int64_t out = 37;
constexpr std::int64_t in = 100;

struct Scheme {
    std::string method;
    bool weight_by_tensor, input_by_tensor, zero_points;
};
const std::vector<Scheme> schemes{{"int8-absmax-tensor", true, true, false},
                                  {"int8-rowwise", true, false, false},
                                  {"int8-vectorwise", false, false, false},
                                  {"int8-zeropoint", true, true, true},
                                  {"int8-zeropoint-vectorwise", false, false, true}};

// What codes stand for: one step and the whole range of a matrix or of one of its rows.
struct Grid {
    double step = 0, least = 0;
    bool zero_points = false;

    double value(double v) const {
        if (step == 0) {
            return 0;
        }
        const double zero = zero_points ? std::nearbyint(least / step) + 127 : 0;
        return (std::clamp(std::nearbyint(v / step) - zero, -127.0, 127.0) + zero) * step;
    }
};

Grid grid_of(const std::vector<double>& values, bool zero_points) {
    double least = 0, most = 0;
    for (const double v : values) {
        least = std::min(least, v);
        most = std::max(most, v);
    }
    const double step = zero_points ? (most - least) / 254 : std::max(most, -least) / 127;
    return {step, least, zero_points};
}

using Matrix = std::vector<std::vector<double>>;

Matrix halves_of(const std::vector<float>& values, std::int64_t width) {
    Matrix rows;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i % static_cast<std::size_t>(width) == 0) {
            rows.emplace_back();
        }
        rows.back().push_back(quant::round_to_f16(values[i]));
    }
    return rows;
}

// Every row rounded on its own grid, or all on the one of the matrix; `keep` says what counts.
template <class Keep>
Matrix rounded(const Matrix& rows, bool by_tensor, bool zero_points, const Keep& keep) {
    std::vector<double> everything;
    const auto counted = [&](const std::vector<double>& row) {
        std::vector<double> kept;
        std::ranges::copy_if(row, std::back_inserter(kept), keep);
        return kept;
    };
    for (const auto& row : rows) {
        const auto kept = counted(row);
        everything.insert(everything.end(), kept.begin(), kept.end());
    }
    Matrix result = rows;
    for (auto& row : result) {
        const Grid grid = grid_of(by_tensor ? everything : counted(row), zero_points);
        std::ranges::transform(row, row.begin(), [&](double v) { return grid.value(v); });
    }
    return result;
}

// The README's formula without its roundings of results, and the size of its terms.
struct Defined {
    double y = 0, size = 0;
};
std::vector<Defined> defined(const Scheme& scheme, const std::vector<float>& x_values,
                             const std::vector<float>& w_values, double threshold) {
    const Matrix x = halves_of(x_values, in), w = halves_of(w_values, in);
    std::vector<bool> outlier(in, false);
    for (const auto& row : x) {
        for (std::size_t k = 0; k < in; ++k) {
            outlier[k] = outlier[k] || (threshold > 0 && std::fabs(row[k]) >= threshold);
        }
    }
    const Matrix qx = rounded(x, scheme.input_by_tensor, scheme.zero_points,
                              [&](double v) { return threshold <= 0 || std::fabs(v) < threshold; });
    const Matrix qw =
        rounded(w, scheme.weight_by_tensor, scheme.zero_points, [](double) { return true; });
    std::vector<Defined> result;
    for (std::size_t r = 0; r < x.size(); ++r) {
        for (std::size_t o = 0; o < w.size(); ++o) {
            Defined d;
            for (std::size_t k = 0; k < in; ++k) {
                const double term = outlier[k] ? x[r][k] * w[o][k] : qx[r][k] * qw[o][k];
                d.y += term;
                d.size += std::fabs(term);
            }
            result.push_back(d);
        }
    }
    return result;
}

// Rows of different sizes, off zero, and two columns beyond 6.
std::vector<float> uneven_inputs(std::int64_t rows) {
    auto x = random_values(2, rows * in, 0.8);
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t k = 0; k < in; ++k) {
            float& v = x[static_cast<std::size_t>(r * in + k)];
            v = (v + 0.5f) * (1.0f + 0.1f * static_cast<float>(r));
        }
        x[static_cast<std::size_t>(r * in + 17)] = 30;
        x[static_cast<std::size_t>(r * in + 64)] = -12;
    }
    return x;
}

std::vector<float> uneven_weight() {
    auto w = random_values(1, out * in, 0.05);
    for (std::int64_t k = 0; k < in; ++k) {
        w[static_cast<std::size_t>(5 * in + k)] *= 6;  // one output far larger than the others
    }
    return w;
}

TEST(Int8Ablations, EachComputesWhatItsNameSays) {
    const auto w = uneven_weight();
    for (const Scheme& scheme : schemes) {
        for (const std::string& isa : isas()) {
            const ScopedIsa scoped(isa);
            for (const double threshold : {0.0, 6.0, 1.5}) {
                Bench bench(2);
                const auto layer =
                    bench.pack(scheme.method, dense_weight("w", out, in, w), threshold);
                for (const std::int64_t rows : {1, 3, 8, 9, 20}) {
                    const auto x = uneven_inputs(rows);
                    const auto y = bench.forward(*layer, x, rows, out);
                    const auto want = defined(scheme, x, w, threshold);
                    std::size_t edges = 0;
                    for (std::size_t i = 0; i < y.size(); ++i) {
                        // Results are rounded to fp16 once or twice. A value half way between two
                        // codes may take either in float32: a few results are one step of it off.
                        const double off = std::fabs(y[i] - want[i].y);
                        edges += off > std::fabs(want[i].y) * 0x1p-10 + want[i].size * 1e-4 + 1e-4;
                        ASSERT_LE(off, want[i].size * 5e-3 + 1e-4)
                            << scheme.method << " " << isa << " T " << threshold << " rows " << rows
                            << " at " << i;
                    }
                    EXPECT_LE(edges, y.size() / 20)
                        << scheme.method << " " << isa << " T " << threshold << " rows " << rows;
                }
            }
        }
    }
}

TEST(Int8Ablations, EffectiveWeightsAreTheWeightsOnTheirGrid) {
    const auto w = uneven_weight();
    for (const Scheme& scheme : schemes) {
        Bench bench;
        const auto layer = bench.pack(scheme.method, dense_weight("w", out, in, w));
        const auto weight = effective_weight(*layer, out, in);
        const Matrix want = rounded(halves_of(w, in), scheme.weight_by_tensor, scheme.zero_points,
                                    [](double) { return true; });
        std::int64_t edges = 0;
        for (std::int64_t o = 0; o < out; ++o) {
            for (std::int64_t k = 0; k < in; ++k) {
                const double off =
                    std::fabs(weight[static_cast<std::size_t>(o * in + k)] -
                              want[static_cast<std::size_t>(o)][static_cast<std::size_t>(k)]);
                edges += off > 1e-6;
            }
        }
        EXPECT_LE(edges, 2) << scheme.method;
    }
}

TEST(Int8Ablations, VectorwiseWithDecompositionIsThePaperSMethod) {
    const auto w = uneven_weight();
    for (const double threshold : {0.0, 6.0}) {
        Bench bench;
        const auto paper = bench.pack("llmint8-paper", dense_weight("w", out, in, w), threshold);
        const auto same = bench.pack("int8-vectorwise", dense_weight("w", out, in, w), threshold);
        for (const std::int64_t rows : {1, 20}) {
            const auto x = uneven_inputs(rows);
            EXPECT_EQ(bench.forward(*paper, x, rows, out), bench.forward(*same, x, rows, out));
        }
    }
}

TEST(Int8Ablations, AZeroPointHoldsZeroExactlyAndReachesBothEnds) {
    for (const auto& [least, most] :
         {std::pair{-1.0f, 3.0f}, {0.0f, 5.0f}, {-2.0f, 0.0f}, {-1e-30f, 1e-30f}, {-6e4f, 6e4f}}) {
        const quant::ZeroPoint point = quant::zero_point(least, most);
        EXPECT_GE(point.zero, -127);
        EXPECT_LE(point.zero, 127);
        const float values[] = {0.0f, least, most};
        std::int8_t codes[3];
        quant::codes_by_zero_point(values, 3, point, codes);
        const double step = static_cast<double>(point.half_range) / 127;
        EXPECT_EQ(codes[0] + point.zero, 0);
        EXPECT_LE(std::fabs((codes[1] + point.zero) * step - least), 0.501 * step);
        EXPECT_LE(std::fabs((codes[2] + point.zero) * step - most), 0.501 * step);
    }
    const quant::ZeroPoint nothing = quant::zero_point(0, 0);
    EXPECT_EQ(nothing.half_range, 0);
    EXPECT_EQ(nothing.zero, 0);
}

TEST(Int8Ablations, TheLedgerEqualsTheCatalog) {
    const auto w = uneven_weight();
    for (const Scheme& scheme : schemes) {
        for (const double threshold : {0.0, 6.0}) {
            Bench bench;
            const auto layer = bench.pack(scheme.method, dense_weight("w", out, in, w), threshold);
            const PackedBytes want = packed_bytes(*parse_method(scheme.method), out, in);
            const MemoryBytes got = bench.backend->allocated();
            EXPECT_EQ(got.weight_codes, want.codes + (threshold > 0 ? want.originals : 0));
            EXPECT_EQ(got.weight_scales, want.scales) << scheme.method;
            EXPECT_EQ(layer->bytes_per_call(), want.codes + want.scales) << scheme.method;
        }
    }
}

TEST(Int8Ablations, NanAndInfinityReachTheOutputAndAllZeroRowsGiveZero) {
    const auto w = uneven_weight();
    for (const Scheme& scheme : schemes) {
        for (const double threshold : {0.0, 6.0}) {
            Bench bench;
            const auto layer = bench.pack(scheme.method, dense_weight("w", out, in, w), threshold);
            for (const float poison : {std::numeric_limits<float>::quiet_NaN(),
                                       std::numeric_limits<float>::infinity()}) {
                auto x = uneven_inputs(2);
                x[77] = poison;
                const auto y = bench.forward(*layer, x, 2, out);
                EXPECT_FALSE(std::all_of(y.begin(), y.begin() + out,
                                         [](float v) { return std::isfinite(v); }))
                    << scheme.method << " " << threshold;
            }
            const auto y = bench.forward(*layer, std::vector<float>(2 * in, 0.0f), 2, out);
            EXPECT_TRUE(std::ranges::all_of(y, [](float v) { return v == 0.0f; })) << scheme.method;
        }
    }
}

}  // namespace
}  // namespace bitsweep
