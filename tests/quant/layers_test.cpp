// Every method: packed form, effective weights, products on every instruction set, refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/quant/support.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep {
namespace {

struct Shape {
    std::int64_t out, in;
};

// Whole tiles, tails in both directions, widths that are no multiple of 4, 16, 32 or 64.
const std::vector<Shape> shapes{{64, 320}, {33, 64}, {48, 100}, {5, 7},
                                {17, 30},  {16, 1},  {80, 576}};

std::vector<std::string> weight_only_methods() {
    std::vector<std::string> ids{"fp32", "fp16",        "bf16", "int8",
                                 "fp8",  "fp8-channel", "nf4",  "fp4"};
    for (const char* blocks :
         {"nf4-b32", "nf4-b128", "fp4-b4096", "nf4-b64-dq", "fp4-b32-dq", "nf4-b256-dq"}) {
        ids.push_back(blocks);
    }
    for (int bits = 2; bits <= 8; ++bits) {
        for (const int group : {16, 32, 64, 256, 1024}) {
            ids.push_back("int" + std::to_string(bits) + "-g" + std::to_string(group));
            ids.push_back(ids.back() + "-asym");
            ids.push_back("hqq-int" + std::to_string(bits) + "-g" + std::to_string(group));
        }
    }
    return ids;
}

// Largest |y - exact| / sum |x| |w| over all outputs; exact in double from the effective weights.
double worst_error(const std::vector<float>& y, const std::vector<float>& x, std::int64_t rows,
                   const Shape& shape, const std::vector<float>& weight,
                   const std::vector<float>& bias) {
    double worst = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t o = 0; o < shape.out; ++o) {
            double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(o)];
            double size = std::fabs(sum) + 1e-30;
            for (std::int64_t k = 0; k < shape.in; ++k) {
                const double term =
                    static_cast<double>(x[static_cast<std::size_t>(r * shape.in + k)]) *
                    weight[static_cast<std::size_t>(o * shape.in + k)];
                sum += term;
                size += std::fabs(term);
            }
            const float got = y[static_cast<std::size_t>(r * shape.out + o)];
            worst = std::max(worst, std::fabs(got - sum) / size);
        }
    }
    return worst;
}

// float32 sums over a few hundred terms: 2^-24 times a small multiple. The digits of the integer
// kernels add at most 2^-24 of the group's absmax per activation, about 4 mean |x| here.
constexpr double product_tolerance = 6e-7;

TEST(Layers, ProductsEqualTheEffectiveWeightsOnEveryInstructionSet) {
    for (const std::string& method : weight_only_methods()) {
        for (const Shape& shape : shapes) {
            const auto values = random_values(7, shape.out * shape.in, 0.05);
            const auto bias = random_values(9, shape.out, 0.1);
            for (const std::string& isa : isas()) {
                const ScopedIsa scoped(isa);
                Bench bench(2);
                const auto layer =
                    bench.pack(method, dense_weight("w", shape.out, shape.in, values, bias));
                ASSERT_NE(layer, nullptr);
                const auto weight = effective_weight(*layer, shape.out, shape.in);
                for (const std::int64_t rows : {1, 2, 3, 7, 8, 9}) {
                    const auto x = random_values(11, rows * shape.in, 1.0);
                    const auto y = bench.forward(*layer, x, rows, shape.out);
                    EXPECT_LT(worst_error(y, x, rows, shape, weight, bias), product_tolerance)
                        << method << " " << isa << " " << shape.out << "x" << shape.in << " rows "
                        << rows;
                }
            }
        }
    }
}

TEST(Layers, OneHugeActivationDoesNotCoarsenTheOthers) {
    const Shape shape{16, 1536};
    auto values = random_values(3, shape.out * shape.in, 0.05);
    for (std::int64_t o = 0; o < shape.out; ++o) {
        values[static_cast<std::size_t>(o * shape.in + 700)] = 0;  // the huge one meets no weight
    }
    auto x = random_values(4, shape.in, 0.1);
    x[700] = 3008;  // SmolLM2's largest input of down_proj
    for (const std::string& method : weight_only_methods()) {
        Bench bench;
        const auto layer = bench.pack(method, dense_weight("w", shape.out, shape.in, values));
        const auto weight = effective_weight(*layer, shape.out, shape.in);
        const auto y = bench.forward(*layer, x, 1, shape.out);
        // In its own group of at most 1024 inputs a step is 3008 / 2^23 = 3.6e-4.
        EXPECT_LT(worst_error(y, x, 1, shape, weight, {}), 3e-4) << method;
    }
}

TEST(Layers, TheLedgerEqualsTheCatalog) {
    auto ids = weight_only_methods();
    ids.insert(ids.end(), {"w8a8", "llmint8-bnb", "llmint8-fused"});
    for (const std::string& method : ids) {
        for (const Shape& shape : shapes) {
            const auto values = random_values(7, shape.out * shape.in, 0.05);
            const std::vector<float> bias(static_cast<std::size_t>(shape.out), 0.5f);
            Bench bench;
            const auto layer =
                bench.pack(method, dense_weight("w", shape.out, shape.in, values, bias));
            const PackedBytes want = packed_bytes(*parse_method(method), shape.out, shape.in);
            const MemoryBytes got = bench.backend->allocated();
            EXPECT_EQ(got.weight_codes, want.codes) << method;
            EXPECT_EQ(got.weight_scales, want.scales) << method;
            EXPECT_EQ(got.other_weights, bias.size() * 4) << method;
            EXPECT_EQ(got.total(), layer->bytes_per_call()) << method;
        }
    }
}

TEST(Layers, AHeadCountsUnderTheCategoryItWasGiven) {
    const auto values = random_values(7, 32 * 64, 0.05);
    Bench bench;
    MethodOptions options;
    options.method = *parse_method("int4-g64");
    options.category = MemoryCategory::embeddings;
    const auto layer = pack_linear(dense_weight("head", 32, 64, values), options, *bench.backend);
    ASSERT_TRUE(layer.ok());
    const PackedBytes want = packed_bytes(options.method, 32, 64);
    EXPECT_EQ(bench.backend->allocated().embeddings, want.codes + want.scales);
    EXPECT_EQ(bench.backend->allocated().weight_codes, 0u);
}

TEST(Layers, NothingDequantisedSurvivesAPrefill) {
    const auto values = random_values(7, 96 * 128, 0.05);
    Bench bench;
    const auto layer = bench.pack("int4-g64", dense_weight("w", 96, 128, values));
    const auto before = bench.backend->allocated();
    bench.forward(*layer, random_values(1, 64 * 128, 1), 64, 96);
    auto after = bench.backend->allocated();
    EXPECT_GT(after.workspace, 0u);
    after.workspace = before.workspace;
    EXPECT_EQ(after.total(), before.total());
}

TEST(Layers, SixteenBitMethodsRoundToNearestEven) {
    const auto values = random_values(5, 40 * 24, 0.3);
    Bench bench;
    const auto half =
        effective_weight(*bench.pack("fp16", dense_weight("w", 40, 24, values)), 40, 24);
    const auto brain =
        effective_weight(*bench.pack("bf16", dense_weight("w", 40, 24, values)), 40, 24);
    const auto full =
        effective_weight(*bench.pack("fp32", dense_weight("w", 40, 24, values)), 40, 24);
    EXPECT_EQ(full, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_LE(std::fabs(half[i] - values[i]), std::fabs(values[i]) * 0x1p-11f + 0x1p-25f);
        EXPECT_LE(std::fabs(brain[i] - values[i]), std::fabs(values[i]) * 0x1p-8f);
    }
}

TEST(Layers, Int8WeightsAreAbsmaxOver127PerChannel) {
    const auto values = random_values(5, 20 * 50, 0.3);
    Bench bench;
    for (const std::string method : {"int8", "w8a8"}) {
        const auto layer = bench.pack(method, dense_weight("w", 20, 50, values));
        const PackedExport packed = layer->export_packed();
        const auto weight = effective_weight(*layer, 20, 50);
        for (std::size_t o = 0; o < 20; ++o) {
            float largest = 0;
            for (std::size_t k = 0; k < 50; ++k) {
                largest = std::max(largest, std::fabs(values[o * 50 + k]));
            }
            EXPECT_EQ(packed.scales[o], largest / 127.0f);
            for (std::size_t k = 0; k < 50; ++k) {
                const double want = std::nearbyint(values[o * 50 + k] * 127.0 / largest);
                EXPECT_EQ(static_cast<std::int8_t>(packed.codes[o * 50 + k]), want);
                EXPECT_EQ(weight[o * 50 + k], static_cast<float>(want) * packed.scales[o]);
            }
        }
    }
}

TEST(Layers, GroupIntegersFollowTheirFormulaAndTheExportDecodesToTheSameWeights) {
    const std::int64_t out = 18;
    const std::int64_t in = 100;
    const auto values = random_values(5, out * in, 0.3);
    for (int bits = 2; bits <= 8; ++bits) {
        const std::int64_t group = 32;
        Bench bench;
        const auto layer =
            bench.pack("int" + std::to_string(bits) + "-g32", dense_weight("w", out, in, values));
        const auto weight = effective_weight(*layer, out, in);
        const PackedExport packed = layer->export_packed();
        const int most = (1 << (bits - 1)) - 1;
        for (std::int64_t o = 0; o < out; ++o) {
            for (std::int64_t k = 0; k < in; ++k) {
                const std::int64_t begin = k / group * group;
                float largest = 0;
                for (std::int64_t i = begin; i < std::min(in, begin + group); ++i) {
                    largest =
                        std::max(largest, std::fabs(values[static_cast<std::size_t>(o * in + i)]));
                }
                const float scale = quant::round_to_f16(largest / static_cast<float>(most));
                const double steps = values[static_cast<std::size_t>(o * in + k)] / scale;
                const double code = std::clamp<double>(std::nearbyint(steps), -most, most);
                EXPECT_EQ(weight[static_cast<std::size_t>(o * in + k)],
                          static_cast<float>(code) * scale);

                const std::int64_t bit = k * bits;
                const std::uint8_t* row = packed.codes.data() + o * packed.codes_shape[1] + bit / 8;
                const int two = row[0] | (bit % 8 + bits > 8 ? row[1] << 8 : 0);
                const int stored = (two >> (bit % 8)) & ((1 << bits) - 1);
                EXPECT_EQ(stored - (1 << (bits - 1)), code);
            }
        }
    }
}

TEST(Layers, OneRowIsDequantisedAsInTheWholeMatrix) {
    const Shape shape{37, 100};
    const auto values = random_values(5, shape.out * shape.in, 0.3);
    for (const std::string& method : weight_only_methods()) {
        Bench bench;
        const auto layer = bench.pack(method, dense_weight("w", shape.out, shape.in, values));
        const auto all = effective_weight(*layer, shape.out, shape.in);
        for (const std::int64_t row : {0, 15, 16, 31, 32, 36}) {
            std::vector<float> one(static_cast<std::size_t>(shape.in));
            layer->dequantize_rows(row, row + 1, one.data());
            EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + row * shape.in))
                << method << " row " << row;
        }
    }
}

TEST(Layers, W8A8RoundsActivationsPerTokenAndSumsExactly) {
    for (const Shape& shape : shapes) {
        const auto values = random_values(7, shape.out * shape.in, 0.05);
        const auto bias = random_values(9, shape.out, 0.1);
        for (const std::string& isa : isas()) {
            const ScopedIsa scoped(isa);
            Bench bench(2);
            const auto layer =
                bench.pack("w8a8", dense_weight("w", shape.out, shape.in, values, bias));
            const PackedExport packed = layer->export_packed();
            for (const std::int64_t rows : {1, 3, 8, 9, 21}) {
                const auto x = random_values(11, rows * shape.in, 1.0);
                const auto y = bench.forward(*layer, x, rows, shape.out);
                for (std::int64_t r = 0; r < rows; ++r) {
                    const float* row = x.data() + r * shape.in;
                    float largest = 0;
                    for (std::int64_t k = 0; k < shape.in; ++k) {
                        largest = std::max(largest, std::fabs(row[k]));
                    }
                    for (std::int64_t o = 0; o < shape.out; ++o) {
                        std::int64_t acc = 0;
                        for (std::int64_t k = 0; k < shape.in; ++k) {
                            const auto code = static_cast<std::int8_t>(
                                packed.codes[static_cast<std::size_t>(o * shape.in + k)]);
                            acc += static_cast<std::int64_t>(
                                       std::nearbyintf(row[k] * (127.0f / largest))) *
                                   code;
                        }
                        const float scale = packed.scales[static_cast<std::size_t>(o)];
                        const double want = static_cast<double>(acc) * (largest / 127.0) * scale +
                                            bias[static_cast<std::size_t>(o)];
                        ASSERT_NEAR(y[static_cast<std::size_t>(r * shape.out + o)], want,
                                    3e-7 * (std::fabs(want) + 1))
                            << isa << " rows " << rows;
                    }
                }
            }
        }
    }
}

TEST(Layers, LlmInt8PrefillEqualsTheSameTokensInTheDecodePath) {
    const Shape shape{40, 96};
    const auto values = random_values(7, shape.out * shape.in, 0.05);
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        for (const double threshold : {0.0, 2.0, 6.0}) {
            Bench bench(2);
            const auto layer = bench.pack(
                "llmint8-bnb", dense_weight("w", shape.out, shape.in, values), threshold);
            // Column 5 is an outlier in every token, so that single tokens choose the same columns.
            auto x = random_values(11, 20 * shape.in, 0.4);
            for (std::int64_t r = 0; r < 20; ++r) {
                x[static_cast<std::size_t>(r * shape.in + 5)] = 7.0f + static_cast<float>(r);
            }
            const auto many = bench.forward(*layer, x, 20, shape.out);
            for (std::int64_t r = 0; r < 20; ++r) {
                const std::vector<float> token(x.begin() + r * shape.in,
                                               x.begin() + (r + 1) * shape.in);
                const auto one = bench.forward(*layer, token, 1, shape.out);
                for (std::int64_t o = 0; o < shape.out; ++o) {
                    const float got = many[static_cast<std::size_t>(r * shape.out + o)];
                    const float want = one[static_cast<std::size_t>(o)];
                    if (threshold == 2.0 || threshold == 0.0) {
                        ASSERT_NEAR(got, want, 2e-3 * (1 + std::fabs(want)));  // an fp16 step
                    } else {
                        ASSERT_EQ(got, want) << isa << " " << r << " " << o;
                    }
                }
            }
        }
    }
}

TEST(Layers, AThresholdAboveEveryActivationChangesNothing) {
    const auto values = random_values(7, 32 * 64, 0.05);
    const auto x = random_values(11, 3 * 64, 1.0);
    Bench bench;
    const auto weight = dense_weight("w", 32, 64, values);
    const auto zero = bench.pack("llmint8-bnb", weight, 0.0);
    const auto high = bench.pack("llmint8-bnb", weight, 1000.0);
    const auto low = bench.pack("llmint8-bnb", weight, 1.0);
    EXPECT_EQ(bench.forward(*zero, x, 3, 32), bench.forward(*high, x, 3, 32));
    EXPECT_NE(bench.forward(*zero, x, 3, 32), bench.forward(*low, x, 3, 32));
}

TEST(Layers, ZeroRowsAndZeroGroupsStayZero) {
    std::vector<float> values = random_values(7, 32 * 128, 0.05);
    std::fill(values.begin() + 3 * 128, values.begin() + 4 * 128, 0.0f);  // row 3
    std::fill(values.begin() + 64, values.begin() + 128, 0.0f);           // half of row 0
    auto ids = weight_only_methods();
    ids.insert(ids.end(), {"w8a8", "llmint8-bnb"});
    for (const std::string& method : ids) {
        Bench bench;
        const auto layer = bench.pack(method, dense_weight("w", 32, 128, values));
        const auto weight = effective_weight(*layer, 32, 128);
        // What becomes of blocks of zeros where scales have an offset: blocks_test.cpp.
        for (std::size_t k = 0; !method.ends_with("-dq") && k < 128; ++k) {
            EXPECT_EQ(weight[3 * 128 + k], 0.0f) << method;
        }
        const auto y = bench.forward(*layer, std::vector<float>(128, 0.0f), 1, 32);
        EXPECT_TRUE(std::ranges::all_of(y, [](float v) { return v == 0.0f; })) << method;
    }
}

TEST(Layers, TinyRowsKeepTheirSign) {
    std::vector<float> values(16 * 64, 0.0f);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = (i % 2 == 0 ? 1.0f : -1.0f) * 1e-40f;  // subnormal float32
    }
    for (const std::string method : {"fp32", "int8", "w8a8", "nf4", "fp4", "int4-g64"}) {
        Bench bench;
        const auto layer = bench.pack(method, dense_weight("w", 16, 64, values));
        for (const float w : effective_weight(*layer, 16, 64)) {
            EXPECT_LE(std::fabs(w), 2e-40f) << method;
            EXPECT_TRUE(std::isfinite(w)) << method;
        }
    }
}

TEST(Layers, NanAndInfinityInActivationsReachTheOutput) {
    const auto values = random_values(7, 32 * 128, 0.05);
    auto ids = weight_only_methods();
    ids.insert(ids.end(), {"w8a8", "llmint8-bnb"});
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        for (const std::string& method : ids) {
            for (const float poison : {std::numeric_limits<float>::quiet_NaN(),
                                       std::numeric_limits<float>::infinity()}) {
                Bench bench;
                const auto layer = bench.pack(method, dense_weight("w", 32, 128, values), 6.0);
                auto x = random_values(11, 128, 1.0);
                x[77] = poison;
                const auto y = bench.forward(*layer, x, 1, 32);
                EXPECT_FALSE(std::ranges::all_of(y, [](float v) { return std::isfinite(v); }))
                    << method << " " << isa;
            }
        }
    }
}

std::string pack_error(const std::string& method, const DenseWeight& weight, ErrorCode code,
                       double threshold = 0) {
    Bench bench;
    const auto layer =
        pack_linear(weight, MethodOptions{*parse_method(method), threshold}, *bench.backend);
    EXPECT_FALSE(layer.ok()) << method;
    if (layer.ok()) {
        return "";
    }
    EXPECT_EQ(layer.error().code, code) << method << ": " << layer.error().message;
    EXPECT_EQ(bench.backend->allocated().total(), 0u);
    return layer.error().message;
}

TEST(Refusals, NanInAWeightNamesLayerRowAndColumn) {
    auto ids = weight_only_methods();
    ids.insert(ids.end(), {"w8a8", "llmint8-bnb"});
    for (const std::string& method : ids) {
        auto values = random_values(7, 40 * 64, 0.05);
        values[21 * 64 + 5] = std::numeric_limits<float>::quiet_NaN();
        const auto message =
            pack_error(method, dense_weight("model.layers.3.mlp.down_proj", 40, 64, values),
                       ErrorCode::invalid_numbers);
        EXPECT_NE(message.find("model.layers.3.mlp.down_proj[21, 5] is nan"), std::string::npos)
            << message;
        values[21 * 64 + 5] = -std::numeric_limits<float>::infinity();
        pack_error(method, dense_weight("w", 40, 64, values), ErrorCode::invalid_numbers);
    }
}

TEST(Refusals, AWeightThatOverflowsFp16IsNotSilentlyInfinite) {
    auto values = random_values(7, 16 * 64, 0.05);
    values[70] = 70000.0f;
    for (const std::string method : {"fp16", "llmint8-bnb"}) {
        const auto message =
            pack_error(method, dense_weight("w", 16, 64, values), ErrorCode::invalid_numbers);
        EXPECT_NE(message.find("w[1, 6]"), std::string::npos) << message;
    }
    values[70] = 7e5f;
    pack_error("int2-g64", dense_weight("w", 16, 64, values), ErrorCode::invalid_numbers);
}

TEST(Refusals, ImpossibleShapesBiasesAndThresholds) {
    const std::vector<float> values(64, 0.1f);
    pack_error("fp16", dense_weight("w", 0, 64, values), ErrorCode::invalid_input);
    pack_error("int8", dense_weight("w", 1, -3, values), ErrorCode::invalid_input);
    pack_error("nf4", dense_weight("w", 1, 64, values, {1.0f, 2.0f}), ErrorCode::invalid_input);
    pack_error("nf4", dense_weight("w", 1, 64, values, {std::numeric_limits<float>::quiet_NaN()}),
               ErrorCode::invalid_numbers);
    pack_error("llmint8-bnb", dense_weight("w", 1, 64, values), ErrorCode::invalid_input, -1.0);
    pack_error("llmint8-bnb", dense_weight("w", 1, 64, values), ErrorCode::invalid_input,
               std::numeric_limits<double>::quiet_NaN());
    const std::vector<float> wide(70000, 0.1f);
    EXPECT_NE(
        pack_error("w8a8", dense_weight("w", 1, 70000, wide), ErrorCode::invalid_input).find("w"),
        std::string::npos);
}

TEST(Refusals, AReadErrorPassesThrough) {
    DenseWeight weight;
    weight.name = "w";
    weight.out_features = 4;
    weight.in_features = 4;
    weight.rows = [](std::int64_t, std::int64_t, float*) -> Status {
        return make_error(ErrorCode::io, "disk gone");
    };
    EXPECT_EQ(pack_error("fp16", weight, ErrorCode::io), "disk gone");
}

TEST(Refusals, AnUnknownInstructionSetIsNamed) {
    const ScopedIsa scoped("sse9");
    const std::vector<float> values(64, 0.1f);
    const auto message =
        pack_error("fp16", dense_weight("w", 1, 64, values), ErrorCode::invalid_input);
    EXPECT_NE(message.find("BITSWEEP_ISA='sse9'"), std::string::npos) << message;
}

TEST(Isa, TheVariableLowersAndNeverRaises) {
    {
        const ScopedIsa scoped("generic");
        EXPECT_EQ(vector_isa(), "generic");
    }
    {
        const ScopedIsa scoped("avx512-vnni");
        EXPECT_EQ(vector_isa(), isas().back());
    }
    EXPECT_EQ(vector_isa(), isas().back());
}

TEST(Outliers, ColumnsAreCountedOnceAndHitsPerToken) {
    OutlierRecorder recorder(6.0, 4);
    const std::vector<float> x{6.0f, 1, 0, -7, 5.9f, 1, 0, 8};
    recorder.add(x.data(), 2);
    const LayerOutliers report = recorder.report("model.layers.3.mlp.down_proj");
    EXPECT_EQ(report.layer, "model.layers.3.mlp.down_proj");
    EXPECT_EQ(report.in_features, 4);
    EXPECT_EQ(report.columns, 2);
    EXPECT_EQ(report.columns_per_token, 1.5);
    EXPECT_EQ(report.max_abs, 8);
}

TEST(Outliers, ThresholdZeroHasNone) {
    OutlierRecorder recorder(0, 2);
    const std::vector<float> x{6.0f, 0};
    recorder.add(x.data(), 1);
    EXPECT_EQ(recorder.report("w").columns, 0);
}

TEST(Outliers, EveryMethodRecordsItsInput) {
    const auto values = random_values(7, 32 * 64, 0.05);
    for (const std::string method : {"fp16", "int8", "w8a8", "llmint8-bnb", "nf4", "int3-g64"}) {
        Bench bench;
        const auto layer = bench.pack(method, dense_weight("w", 32, 64, values), 6.0);
        std::vector<float> x(64, 0.5f);
        x[9] = -6.5f;
        std::vector<float> y(32);
        OutlierRecorder recorder(6.0, 64);
        const LinearCall call{.x = x.data(),
                              .y = y.data(),
                              .rows = 1,
                              .threads = bench.pool,
                              .workspace = bench.workspace,
                              .outliers = &recorder};
        ASSERT_TRUE(layer->forward(call).ok());
        EXPECT_EQ(recorder.report("w").columns, 1) << method;
    }
}

}  // namespace
}  // namespace bitsweep
