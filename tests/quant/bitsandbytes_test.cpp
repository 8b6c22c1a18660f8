// Every case of the vectors that bitsandbytes 0.50 wrote on a GPU; recipe.py beside them is the
// arithmetic.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/quant/support.h"
#include "worker/inference/quant/fp4/fp4.h"
#include "worker/inference/quant/llmint8/llmint8.h"
#include "worker/inference/quant/nf4/nf4.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/tiles.h"
#include "worker/inference/quant/shared/tokens.h"

namespace bitsweep {
namespace {

using nlohmann::json;

// Distance between neighbouring fp16 values at `value`.
double f16_spacing(double value) {
    const double magnitude = std::max(std::fabs(value), std::ldexp(1.0, -14));
    return std::ldexp(1.0, std::ilogb(magnitude) - 10);
}

struct Int8Case {
    std::string name;
    std::int64_t out = 0, in = 0;
    std::vector<float> weight;
    std::vector<std::int8_t> cb;  // as the GPU chose
    std::vector<float> scb;
    std::vector<float> bias;
    json info;
};

std::vector<std::int8_t> quantized_rows(const std::vector<float>& values, std::int64_t width) {
    std::vector<std::int8_t> codes(values.size());
    float scale = 0;
    for (std::size_t at = 0; at < values.size(); at += static_cast<std::size_t>(width)) {
        quant::quantize_token(values.data() + at, width, 0, codes.data() + at, &scale);
    }
    return codes;
}

Int8Case load_case(const json& info, const std::map<std::string, Tensor>& tensors) {
    Int8Case c;
    c.info = info;
    c.name = info["weight"];
    c.out = info["N"];
    c.in = info["K"];
    const auto scb = tensors.at(c.name + ".SCB").as<float>();
    c.scb.assign(scb.begin(), scb.end());
    if (tensors.contains(c.name + ".bias")) {
        c.bias = tensors.at(c.name + ".bias").floats();
    }
    if (info["generated"].get<bool>()) {
        c.weight =
            generated_weight(info["generator"]["seed"], info["generator"]["shift"], c.out * c.in);
        c.cb = quantized_rows(c.weight, c.in);
        for (const auto& exception : info["CB_exceptions"]) {
            const std::int64_t at =
                exception[0].get<std::int64_t>() * c.in + exception[1].get<std::int64_t>();
            c.cb[static_cast<std::size_t>(at)] = exception[2].get<std::int8_t>();
        }
    } else {
        c.weight = tensors.at(c.name + ".W").floats();
        const auto cb = tensors.at(c.name + ".CB").as<std::int8_t>();
        c.cb.assign(cb.begin(), cb.end());
    }
    return c;
}

class LlmInt8 : public testing::Test {
 protected:
    void SetUp() override {
        tensors_ = read_vectors("llmint8");
        const json list = json::parse(read_vector_json("llmint8"))["cases"];
        for (const auto& info : list) {
            cases_.push_back(load_case(info, tensors_));
        }
        ASSERT_EQ(cases_.size(), 9u);
    }

    std::map<std::string, Tensor> tensors_;
    std::vector<Int8Case> cases_;
};

TEST_F(LlmInt8, PackingChoosesBitsandbytesCodesExceptOnExactTies) {
    for (const Int8Case& c : cases_) {
        Bench bench;
        const auto layer =
            bench.pack("llmint8-bnb", dense_weight(c.name, c.out, c.in, c.weight), 6.0);
        const PackedExport packed = layer->export_packed();
        EXPECT_EQ(packed.scales, c.scb) << c.name;
        ASSERT_EQ(packed.codes.size(), c.cb.size());
        std::int64_t ties = 0;
        for (std::size_t i = 0; i < c.cb.size(); ++i) {
            if (static_cast<std::int8_t>(packed.codes[i]) == c.cb[i]) {
                continue;
            }
            ++ties;
            const double row_max = c.scb[i / static_cast<std::size_t>(c.in)];
            const double steps = std::fabs(c.weight[i] * 127.0 / row_max);
            EXPECT_NEAR(steps - std::floor(steps), 0.5, 1e-4) << c.name << " " << i;
        }
        EXPECT_LE(ties, static_cast<std::int64_t>(c.cb.size()) / 500) << c.name;
    }
}

// CA, SCA, outlier columns and int32 sums of one run, then its outputs.
void check_run(const Int8Case& c, const json& run, const std::map<std::string, Tensor>& tensors,
               const std::string& method) {
    const std::string key = c.name + "." + run["run"].get<std::string>();
    SCOPED_TRACE(key + " " + method);
    const std::int64_t rows = run["rows"];
    const double threshold = run["threshold"];
    const auto x = tensors.at(key + ".X").floats();

    Bench bench(2);
    MethodOptions options{*parse_method(method), threshold};
    std::vector<std::int32_t> columns;
    if (tensors.contains(key + ".outlier_cols")) {
        const auto list = tensors.at(key + ".outlier_cols").as<std::int32_t>();
        columns.assign(list.begin(), list.end());
    }
    for (const std::string output : {"out", "out_nobias"}) {
        if (!tensors.contains(key + "." + output)) {
            continue;
        }
        const std::vector<float> bias = output == "out" ? c.bias : std::vector<float>{};
        const DenseWeight shape = dense_weight(c.name, c.out, c.in, c.weight, bias);
        auto layer = quant::llmint8_from_codes(shape, c.cb, c.scb, options, *bench.backend);
        ASSERT_TRUE(layer.ok());
        const auto y = bench.forward(**layer, x, rows, c.out);
        const auto want = tensors.at(key + "." + output).floats();
        const auto acc = tensors.at(key + ".acc").as<std::int32_t>();
        const auto sca = tensors.at(key + ".SCA").as<float>();
        std::int64_t differ_once = 0;  // from f16(C + sum)
        for (std::size_t i = 0; i < want.size(); ++i) {
            if (columns.empty()) {
                ASSERT_EQ(y[i], want[i]) << output << " " << i;
                continue;
            }
            const std::size_t r = i / static_cast<std::size_t>(c.out);
            const std::size_t o = i % static_cast<std::size_t>(c.out);
            const float scaled = static_cast<float>(acc[i]) * (sca[r] * c.scb[o]);
            const double main = quant::round_to_f16(static_cast<float>(
                static_cast<double>(scaled) * 6.200012e-05f + (bias.empty() ? 0.0f : bias[o])));
            double sum = 0;
            for (const std::int32_t k : columns) {
                const std::size_t at = o * static_cast<std::size_t>(c.in) + k;
                sum += static_cast<double>(x[r * static_cast<std::size_t>(c.in) + k]) *
                       quant::outlier_weight(c.cb[at], c.scb[o]);
            }
            const double spacing = f16_spacing(
                std::max({std::fabs(main), std::fabs(sum), std::fabs(double{want[i]})}));
            ASSERT_LE(std::fabs(y[i] - (main + sum)), 1.0 * spacing) << output << " " << i;
            ASSERT_LE(std::fabs(y[i] - want[i]), 2.0 * spacing) << output << " " << i;
            differ_once += y[i] != quant::round_to_f16(static_cast<float>(main + sum));
        }
        EXPECT_LE(differ_once, 1 + static_cast<std::int64_t>(want.size()) / 500);
    }
}

TEST_F(LlmInt8, OutputsEqualBitsandbytesOnEveryInstructionSet) {
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        SCOPED_TRACE(isa);
        for (const Int8Case& c : cases_) {
            if (isa == "generic" && c.info["generated"].get<bool>()) {
                continue;  // the plain loops take seconds there
            }
            for (const auto& run : c.info["runs"]) {
                check_run(c, run, tensors_, "llmint8-bnb");
                check_run(c, run, tensors_, "llmint8-fused");
            }
        }
    }
}

TEST_F(LlmInt8, CodesScalesAndInt32SumsOfActivationsAreEqual) {
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        for (const Int8Case& c : cases_) {
            Bench bench;
            const DenseWeight shape = dense_weight(c.name, c.out, c.in, c.weight);
            const MethodOptions options{*parse_method("llmint8-bnb"), 0};
            quant::LayerBody body = quant::allocate_body(shape, options, *bench.backend).value();
            const quant::TileLayout layout{8, c.out, c.in};
            for (std::int64_t row = 0; row < c.out; ++row) {
                std::vector<std::uint8_t> codes;
                for (std::int64_t i = 0; i < c.in; ++i) {
                    codes.push_back(static_cast<std::uint8_t>(
                        c.cb[static_cast<std::size_t>(row * c.in + i)] + 128));
                }
                layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data());
            }
            for (const auto& run : c.info["runs"]) {
                const std::string key = c.name + "." + run["run"].get<std::string>();
                SCOPED_TRACE(isa + " " + key);
                const std::int64_t rows = run["rows"];
                const auto x = tensors_.at(key + ".X").floats();
                const LinearCall call{.x = x.data(),
                                      .rows = rows,
                                      .threads = bench.pool,
                                      .workspace = bench.workspace};
                const quant::Tokens tokens = *quant::reserve_tokens(body, call);
                const auto ca = tensors_.at(key + ".CA").as<std::int8_t>();
                const auto sca = tensors_.at(key + ".SCA").as<float>();
                for (std::int64_t r = 0; r < rows; ++r) {
                    std::int8_t* codes = tokens.codes + r * tokens.stride;
                    quant::quantize_token(x.data() + r * c.in, c.in, run["threshold"], codes,
                                          tokens.scale + r);
                    ASSERT_EQ(tokens.scale[r], sca[static_cast<std::size_t>(r)]);
                    for (std::int64_t i = 0; i < c.in; ++i) {
                        const std::int8_t want = ca[static_cast<std::size_t>(r * c.in + i)];
                        if (rows > 1 && want == 0) {
                            codes[i] = 0;  // whole outlier columns; forward() is tested above
                        }
                        ASSERT_EQ(codes[i], want) << r << " " << i;
                    }
                    quant::finish_token(tokens, r);
                }
                const auto acc = tensors_.at(key + ".acc").as<std::int32_t>();
                for (std::int64_t tile = 0; tile < layout.tiles(); ++tile) {
                    std::vector<std::int32_t> got(quant::few_rows * quant::tile_rows);
                    quant::exact_tile(body, quant::kernels(body.isa), tokens, 0, rows, tile,
                                      got.data());
                    for (std::int64_t r = 0; r < rows; ++r) {
                        for (std::int64_t lane = 0; lane < layout.lanes(tile); ++lane) {
                            const std::int64_t o = tile * quant::tile_rows + lane;
                            ASSERT_EQ(got[static_cast<std::size_t>(r * quant::tile_rows + lane)],
                                      acc[static_cast<std::size_t>(r * c.out + o)]);
                        }
                    }
                }
            }
        }
    }
}

class FourBits : public testing::TestWithParam<std::string> {};

TEST_P(FourBits, CodesScalesAndWeightsEqualBitsandbytes) {
    const std::string type = GetParam();
    const auto tensors = read_vectors("bnb4");
    const quant::Codebook& book = type == "nf4" ? quant::nf4_codebook() : quant::fp4_codebook();
    const auto values = tensors.at(type + ".code").as<float>();
    ASSERT_TRUE(std::equal(values.begin(), values.end(), book.value.begin()));
    std::int64_t cases = 0;
    const json list = json::parse(read_vector_json("bnb4"))["cases"];
    for (const auto& info : list) {
        const std::string name = info["weight"];
        const std::string key = name + "." + type;
        if (!tensors.contains(key + ".packed")) {
            continue;
        }
        ++cases;
        SCOPED_TRACE(key);
        const std::int64_t out = info["N"];
        const std::int64_t in = info["K"];
        const auto weight = tensors.at(name + ".W").floats();
        Bench bench;
        const auto layer = bench.pack(type, dense_weight(name, out, in, weight));
        const PackedExport packed = layer->export_packed();
        const auto absmax = tensors.at(key + ".absmax").as<float>();
        ASSERT_TRUE(
            std::equal(absmax.begin(), absmax.end(), packed.scales.begin(), packed.scales.end()));
        const auto want = tensors.at(key + ".packed").as<std::uint8_t>();
        ASSERT_EQ(packed.codes.size(), want.size());
        const auto dequant = tensors.at(key + ".dequant").floats();
        const auto mine = effective_weight(*layer, out, in);
        std::int64_t ties = 0;
        for (std::int64_t i = 0; i < out * in; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const int shift = i % 2 == 0 ? 4 : 0;
            const int got = (packed.codes[at / 2] >> shift) & 15;
            const int expected = (want[at / 2] >> shift) & 15;
            if (got == expected) {
                ASSERT_EQ(quant::round_to_f16(mine[at]), dequant[at]) << i;
                continue;
            }
            ++ties;  // only where w / absmax falls on a midpoint
            const double x = weight[at] / double{absmax[at / 64]};
            double distance = 1;
            for (const float midpoint : book.midpoint) {
                distance = std::min(distance, std::fabs(x - midpoint));
            }
            EXPECT_LT(distance, 1e-6) << i << " " << got << " " << expected;
        }
        EXPECT_LE(ties, out * in / 200) << "values on a midpoint";
    }
    EXPECT_GE(cases, 3);
}

TEST_P(FourBits, OutputsStayWithinTheStatedBoundOfBitsandbytes) {
    const std::string type = GetParam();
    const auto tensors = read_vectors("bnb4");
    const json list = json::parse(read_vector_json("bnb4"))["cases"];
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        for (const auto& info : list) {
            const std::string name = info["weight"];
            const std::string key = name + "." + type;
            if (!tensors.contains(key + ".packed")) {
                continue;
            }
            const std::int64_t out = info["N"];
            const std::int64_t in = info["K"];
            const auto weight = tensors.at(name + ".W").floats();
            const auto bias = tensors.at(name + ".bias").floats();
            Bench bench;
            const auto layer = bench.pack(type, dense_weight(name, out, in, weight, bias));
            const auto dequant = tensors.at(key + ".dequant").floats();
            const auto mine = effective_weight(*layer, out, in);
            for (const std::int64_t rows : {1, 5}) {
                const auto x = tensors.at(name + ".X" + std::to_string(rows)).floats();
                const auto want = tensors.at(key + ".out" + std::to_string(rows)).floats();
                const auto y = bench.forward(*layer, x, rows, out);
                for (std::int64_t i = 0; i < rows * out; ++i) {
                    double bound = std::fabs(bias[static_cast<std::size_t>(i % out)]);
                    double ties = 0;  // where the GPU took the other code of a midpoint
                    for (std::int64_t k = 0; k < in; ++k) {
                        const double xk = x[static_cast<std::size_t>(i / out * in + k)];
                        const auto w = static_cast<std::size_t>(i % out * in + k);
                        bound += std::fabs(xk * dequant[w]);
                        ties += std::fabs(xk * (quant::round_to_f16(mine[w]) - dequant[w]));
                    }
                    const auto at = static_cast<std::size_t>(i);
                    ASSERT_NEAR(y[at], want[at], 1e-3 * bound + ties)
                        << isa << " " << key << " " << i;
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, FourBits, testing::Values("nf4", "fp4"),
                         [](const auto& type) { return type.param; });

}  // namespace
}  // namespace bitsweep
