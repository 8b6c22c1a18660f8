// nf4 and fp4 in blocks other than 64 and with scales in 8 bits, against bitsandbytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/quant/support.h"
#include "worker/inference/quant/fp4/fp4.h"
#include "worker/inference/quant/nf4/nf4.h"
#include "worker/inference/quant/shared/block_scales.h"

namespace bitsweep {
namespace {

using nlohmann::json;

using Vectors = std::map<std::string, Tensor>;

// The scales of one layer as bitsandbytes nested them.
struct NestedVectors {
    std::vector<float> plain, nested;
    std::vector<std::uint8_t> codes;
    float offset = 0;
};
NestedVectors nested_of(const Vectors& tensors, const std::string& key) {
    const auto plain = tensors.at(key + ".absmax").as<float>();
    const auto nested = tensors.at(key + ".dq.nested_absmax").as<float>();
    const auto codes = tensors.at(key + ".dq.absmax").as<std::uint8_t>();
    return {{plain.begin(), plain.end()},
            {nested.begin(), nested.end()},
            {codes.begin(), codes.end()},
            tensors.at(key + ".dq.offset").as<float>()[0]};
}

// Its mean is of float32 sums in another order, so that a code next to a middle may go either way.
void expect_same_scales(const quant::NestedScales& got, const NestedVectors& want) {
    EXPECT_NEAR(got.offset, want.offset, 2e-7f * want.offset);
    ASSERT_EQ(got.nested.size(), want.nested.size());
    for (std::size_t i = 0; i < want.nested.size(); ++i) {
        EXPECT_NEAR(got.nested[i], want.nested[i], 4e-7f * want.offset);
    }
    ASSERT_EQ(got.codes.size(), want.codes.size());
    std::size_t differ = 0;
    for (std::size_t i = 0; i < want.codes.size(); ++i) {
        differ += got.codes[i] != want.codes[i] ? 1 : 0;
        EXPECT_LE(std::abs(int{got.codes[i]} - int{want.codes[i]}), 1) << i;
    }
    EXPECT_LE(differ, want.codes.size() / 100);
}

TEST(Blocks, TheDynamicMapIsBitsandbytes) {
    for (const char* file : {"bnb4", "bnb4_blocks"}) {
        const auto tensors = read_vectors(file);
        const auto want = tensors.at("nested.code").as<float>();
        ASSERT_EQ(want.size(), 256u);
        for (std::size_t i = 0; i < 256; ++i) {
            EXPECT_EQ(quant::dynamic_map()[i], want[i]) << i;
        }
    }
}

TEST(Blocks, ScalesAreNestedAsOnBitsandbytesGpu) {
    const auto tensors = read_vectors("bnb4");
    std::size_t cases = 0, scales = 0;
    const json list = json::parse(read_vector_json("bnb4"))["cases"];
    for (const auto& info : list) {
        for (const std::string type : {"nf4", "fp4"}) {
            const std::string key = info["weight"].get<std::string>() + "." + type;
            if (tensors.contains(key + ".dq.absmax")) {
                SCOPED_TRACE(key);
                const NestedVectors want = nested_of(tensors, key);
                expect_same_scales(quant::nest_scales(want.plain), want);
                ++cases;
                scales += want.plain.size();
            }
        }
    }
    EXPECT_GE(cases, 7u);
    EXPECT_GE(scales, 1000u);
}

struct BlockCase {
    std::int64_t out, in, block;
    std::vector<float> weight;
};

std::vector<BlockCase> block_cases() {
    std::vector<BlockCase> cases;
    const json list = json::parse(read_vector_json("bnb4_blocks"))["cases"];
    for (const auto& info : list) {
        cases.push_back({info["N"], info["K"], info["block"], {}});
        cases.back().weight =
            generated_weight(info["seed"], info["shift"], cases.back().out * cases.back().in);
    }
    EXPECT_GE(cases.size(), 12u);
    return cases;
}

std::string id_of(const std::string& type, std::int64_t block, const std::string& suffix = "") {
    return type + (block == 64 && suffix.empty() ? "" : "-b" + std::to_string(block)) + suffix;
}

int nibble(std::span<const std::uint8_t> packed, std::int64_t at) {
    return packed[static_cast<std::size_t>(at / 2)] >> (at % 2 == 0 ? 4 : 0) & 15;
}

TEST(Blocks, CodesScalesAndWeightsOfEveryBlockAreBitsandbytes) {
    const auto tensors = read_vectors("bnb4_blocks");
    for (const BlockCase& c : block_cases()) {
        for (const std::string type : {"nf4", "fp4"}) {
            const std::string key = "w" + std::to_string(c.out) + "x" + std::to_string(c.in) + "." +
                                    type + ".b" + std::to_string(c.block);
            SCOPED_TRACE(key);
            const quant::Codebook& book =
                type == "nf4" ? quant::nf4_codebook() : quant::fp4_codebook();
            Bench bench;
            const auto layer =
                bench.pack(id_of(type, c.block), dense_weight("w", c.out, c.in, c.weight));
            const PackedExport packed = layer->export_packed();
            const auto absmax = tensors.at(key + ".absmax").as<float>();
            ASSERT_TRUE(std::equal(absmax.begin(), absmax.end(), packed.scales.begin(),
                                   packed.scales.end()));
            const auto want = tensors.at(key + ".packed").as<std::uint8_t>();
            const auto mine = effective_weight(*layer, c.out, c.in);
            std::int64_t ties = 0;
            for (std::int64_t i = 0; i < c.out * c.in; ++i) {
                const auto at = static_cast<std::size_t>(i);
                const float scale = absmax[static_cast<std::size_t>(i / c.block)];
                const int got = nibble(packed.codes, i);
                ASSERT_EQ(mine[at], book.value[static_cast<std::size_t>(got)] * scale) << i;
                // Which of fp4's two zeros stands for a small negative value, its CPU path and its
                // GPU path do not agree on.
                const auto value = [&](int code) {
                    return book.value[static_cast<std::size_t>(code)];
                };
                if (value(got) == value(nibble(want, i))) {
                    continue;
                }
                ++ties;  // only where w / absmax falls on a midpoint
                double distance = 1;
                for (const float midpoint : book.midpoint) {
                    distance =
                        std::min(distance, std::fabs(c.weight[at] / double{scale} - midpoint));
                }
                EXPECT_LT(distance, 1e-6) << i;
            }
            EXPECT_LE(ties, c.out * c.in / 200);
        }
    }
}

TEST(Blocks, DoubleQuantisationIsBitsandbytesOnTheSameCodes) {
    const auto tensors = read_vectors("bnb4_blocks");
    for (const BlockCase& c : block_cases()) {
        const std::string key = "w" + std::to_string(c.out) + "x" + std::to_string(c.in) +
                                ".nf4.b" + std::to_string(c.block);
        SCOPED_TRACE(key);
        Bench bench;
        const auto weight = dense_weight("w", c.out, c.in, c.weight);
        const auto plain = bench.pack(id_of("nf4", c.block), weight);
        const auto layer = bench.pack(id_of("nf4", c.block, "-dq"), weight);
        const PackedExport packed = layer->export_packed();
        const NestedVectors want = nested_of(tensors, key);
        const std::size_t four_bits = plain->export_packed().codes.size();
        quant::NestedScales got;
        got.offset = packed.scales[0];
        got.nested.assign(packed.scales.begin() + 1, packed.scales.end());
        got.codes.assign(packed.codes.begin() + static_cast<std::ptrdiff_t>(four_bits),
                         packed.codes.end());
        expect_same_scales(got, want);
        const auto mine = effective_weight(*layer, c.out, c.in);
        for (std::int64_t i = 0; i < c.out * c.in; ++i) {
            const auto block = static_cast<std::size_t>(i / c.block);
            const float scale =
                quant::dynamic_map()[got.codes[block]] * got.nested[block / 256] + got.offset;
            const auto code = static_cast<std::size_t>(nibble(packed.codes, i));
            ASSERT_EQ(mine[static_cast<std::size_t>(i)], quant::nf4_codebook().value[code] * scale);
        }
    }
}

// bitsandbytes gives a block of zeros the first code: exactly 0 while its absmax is 0, and a
// little of the mean absmax where that is a code, too.
TEST(Blocks, ABlockOfZerosIsNothingOrNearlyNothingBesideTheOthers) {
    auto values = random_values(7, 32 * 128, 0.05);
    std::fill(values.begin() + 3 * 128, values.begin() + 4 * 128, 0.0f);
    for (const std::string type : {"nf4", "fp4"}) {
        for (const std::int64_t block : {32, 64, 128}) {
            Bench bench;
            const auto weight = dense_weight("w", 32, 128, values);
            const auto plain = effective_weight(*bench.pack(id_of(type, block), weight), 32, 128);
            const auto nested =
                effective_weight(*bench.pack(id_of(type, block, "-dq"), weight), 32, 128);
            for (std::size_t i = 3 * 128; i < 4 * 128; ++i) {
                EXPECT_EQ(plain[i], 0.0f);
                EXPECT_LT(std::fabs(nested[i]), 0.01f * 0.15f);
            }
        }
    }
}

TEST(Blocks, TheSecondLevelCostsLessThanAHundredthOfTheError) {
    const std::int64_t out = 128, in = 512;
    const auto values = random_values(3, out * in, 0.05);
    const auto lost = [&](const std::string& method) {
        Bench bench;
        const auto weight =
            effective_weight(*bench.pack(method, dense_weight("w", out, in, values)), out, in);
        double sum = 0;
        for (std::size_t i = 0; i < weight.size(); ++i) {
            sum += (weight[i] - values[i]) * (weight[i] - values[i]);
        }
        return sum;
    };
    double before = 0;
    for (const std::int64_t block : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
        const double plain = lost(id_of("nf4", block));
        EXPECT_GT(plain, before) << block;  // longer blocks lose more
        EXPECT_LT(lost(id_of("nf4", block, "-dq")), 1.01 * plain) << block;
        before = plain;
    }
}

}  // namespace
}  // namespace bitsweep
