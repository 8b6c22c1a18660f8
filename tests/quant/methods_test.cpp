#include "schemas/catalog/methods.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace bitsweep {
namespace {

std::string error_of(std::string_view text, ErrorCode code) {
    const auto result = parse_method(text);
    EXPECT_FALSE(result.ok()) << text;
    if (result.ok()) {
        return "";
    }
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
    return result.error().message;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(Methods, EveryRowOfTheTableParsesToItself) {
    for (const MethodRow& row : method_table()) {
        std::string id(row.id);
        for (const auto& [letter, number] : {std::pair{'B', "5"}, std::pair{'N', "32"}}) {
            if (const auto at = id.find(letter); at != std::string::npos) {
                id.replace(at, 1, number);
            }
        }
        const auto method = parse_method(id);
        ASSERT_TRUE(method.ok()) << id;
        EXPECT_EQ(method->text, id);
        EXPECT_EQ(&method_row(*method), &row);
        EXPECT_EQ(method->rounds_activations, row.rounds_activations);
        EXPECT_TRUE(row.on_cpu);
        EXPECT_GE(row.numerics_cpu, 1);
    }
}

TEST(Methods, OnlyLlmInt8ReadsAThreshold) {
    for (const MethodRow& row : method_table()) {
        EXPECT_EQ(row.reads_threshold, row.family == MethodFamily::llmint8) << row.id;
    }
}

TEST(Methods, GroupIdsCarryBitsAndGroup) {
    for (int bits = 2; bits <= 8; ++bits) {
        for (int group = 16; group <= 1024; group *= 2) {
            const auto id = "int" + std::to_string(bits) + "-g" + std::to_string(group);
            const auto method = parse_method(id);
            ASSERT_TRUE(method.ok()) << id;
            EXPECT_EQ(method->weight_bits, bits);
            EXPECT_EQ(method->group, group);
            ASSERT_TRUE(parse_method(id + "-asym").ok()) << id;
            ASSERT_TRUE(parse_method("hqq-" + id).ok()) << id;
            EXPECT_EQ(parse_method(id + "-asym")->group, group);
        }
    }
}

TEST(Methods, NineBitsAreRefusedWithTheLimitAndTheNearest) {
    const auto message = error_of("int9-g64", ErrorCode::invalid_input);
    EXPECT_TRUE(contains(message, "int9-g64")) << message;
    EXPECT_TRUE(contains(message, "2 to 8")) << message;
    EXPECT_TRUE(contains(message, "int8-g64")) << message;
}

TEST(Methods, AGroupThatIsNoPowerOfTwoIsRefusedWithTheNearest) {
    const auto message = error_of("int4-g63", ErrorCode::invalid_input);
    EXPECT_TRUE(contains(message, "power of two from 16 to 1024")) << message;
    EXPECT_TRUE(contains(message, "int4-g64")) << message;
    EXPECT_TRUE(contains(error_of("int4-g2048", ErrorCode::invalid_input), "int4-g1024"));
    EXPECT_TRUE(contains(error_of("int4-g0", ErrorCode::invalid_input), "int4-g16"));
    EXPECT_TRUE(contains(error_of("int04-g64", ErrorCode::invalid_input), "int4-g64"));
    EXPECT_TRUE(contains(error_of("int3-g60-asym", ErrorCode::invalid_input), "int3-g64-asym"));
    EXPECT_TRUE(contains(error_of("hqq-int9-g64", ErrorCode::invalid_input), "hqq-int8-g64"));
    EXPECT_TRUE(contains(error_of("int3-g64-asyn", ErrorCode::invalid_input), "int3-g64-asym"));
}

TEST(Methods, BlocksOfACodeBookHaveLimitsOfTheirOwn) {
    for (const std::string type : {"nf4", "fp4"}) {
        EXPECT_EQ(parse_method(type)->group, 64);
        EXPECT_EQ(parse_method(type + "-b4096")->group, 4096);
        EXPECT_EQ(parse_method(type + "-b32")->weight_bits, 4);
        EXPECT_FALSE(parse_method(type + "-b32")->nested_scales);
        EXPECT_TRUE(parse_method(type + "-b64-dq")->nested_scales);
        const auto invalid = [&](const std::string& rest) {
            return error_of(type + rest, ErrorCode::invalid_input);
        };
        EXPECT_TRUE(contains(invalid("-b16"), "power of two from 32 to 4096; nearest: " + type));
        EXPECT_TRUE(contains(invalid("-b8192-dq"), "nearest: " + type + "-b4096-dq"));
        // One method has one id.
        EXPECT_TRUE(contains(invalid("-b64"), "write it '" + type + "'"));
        EXPECT_TRUE(contains(invalid("-b0128"), "write it '" + type + "-b128'"));
        EXPECT_TRUE(contains(invalid("-dq"), "did you mean '" + type));
    }
}

TEST(Methods, AnUnknownMethodSuggestsTheNearest) {
    EXPECT_TRUE(contains(error_of("in8", ErrorCode::invalid_input), "did you mean 'int8'"));
    EXPECT_TRUE(contains(error_of("llmint8", ErrorCode::invalid_input), "'llmint8-bnb'"));
    EXPECT_TRUE(contains(error_of("int4", ErrorCode::invalid_input), "'int4-g64'"));
    EXPECT_TRUE(contains(error_of("fp17", ErrorCode::invalid_input), "'fp16'"));
    EXPECT_TRUE(contains(error_of("", ErrorCode::invalid_input), "known: fp32"));
    EXPECT_TRUE(contains(error_of("int-g", ErrorCode::invalid_input), "known:"));
    EXPECT_TRUE(contains(error_of("int4-g99999999999999", ErrorCode::invalid_input), "known:"));
    EXPECT_LT(error_of(std::string(100000, 'x'), ErrorCode::invalid_input).size(), 900u);
}

TEST(Methods, PackedBytesFollowTheStatedBitsPerWeight) {
    const auto bits = [](const std::string& id, std::int64_t out, std::int64_t in) {
        const PackedBytes bytes = packed_bytes(*parse_method(id), out, in);
        return 8.0 * static_cast<double>(bytes.codes + bytes.scales) /
               static_cast<double>(out * in);
    };
    EXPECT_EQ(bits("fp32", 96, 64), 32);
    EXPECT_EQ(bits("fp16", 96, 64), 16);
    EXPECT_EQ(bits("bf16", 96, 64), 16);
    EXPECT_EQ(packed_bytes(*parse_method("fp8"), 100, 65).codes, 6500u);
    EXPECT_EQ(packed_bytes(*parse_method("fp8"), 100, 65).scales, 4u);
    EXPECT_EQ(packed_bytes(*parse_method("fp8-channel"), 100, 65).scales, 400u);
    EXPECT_EQ(bits("nf4", 96, 64), 4.5);
    EXPECT_EQ(bits("fp4", 576, 1536), 4.5);
    for (int block = 32; block <= 4096; block *= 2) {
        const std::string id = "nf4-b" + std::to_string(block);
        EXPECT_EQ(bits(block == 64 ? "nf4" : id, 4096, 4096), 4 + 32.0 / block) << id;
        // And one float a layer.
        EXPECT_NEAR(bits(id + "-dq", 4096, 4096), 4 + (8 + 32.0 / 256) / block, 1e-5) << id;
    }
    EXPECT_NEAR(bits("nf4-b64-dq", 4096, 4096), 4.127, 5e-4);  // arXiv 2305.14314, section 3
    for (int b = 2; b <= 8; ++b) {
        const std::string id = "int" + std::to_string(b) + "-g64";
        EXPECT_EQ(bits(id, 576, 1536), b + 16.0 / 64) << id;
        EXPECT_EQ(bits(id + "-asym", 576, 1536), b + 32.0 / 64) << id;
        EXPECT_EQ(bits("hqq-" + id, 576, 1536), b + 32.0 / 64) << id;
    }
    EXPECT_EQ(packed_bytes(*parse_method("int8"), 100, 64).codes, 6400u);
    EXPECT_EQ(packed_bytes(*parse_method("llmint8-bnb"), 100, 64).scales, 400u);
    EXPECT_EQ(packed_bytes(*parse_method("int4-g64"), 3, 100).scales, 3u * 2 * 2);
}

}  // namespace
}  // namespace bitsweep
