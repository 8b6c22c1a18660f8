// GGUF files and safetensors of the same models (vectors: make_gguf_vectors.py).
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "tests/files/support.h"
#include "worker/inference/float_convert.h"
#include "worker/inference/gguf_reader.h"
#include "worker/inference/model_files.h"
#include "worker/inference/safetensors_header.h"
#include "worker/inference/weight_names.h"

namespace bitsweep {
namespace {

using namespace testing_files;

class QuantisedType : public testing::TestWithParam<const char*> {};

TEST_P(QuantisedType, dequantises_bit_for_bit_as_the_gguf_package) {
    const auto file = read_gguf(vectors_dir / "types.gguf");
    ASSERT_TRUE(file.ok()) << file.error().message;
    const auto tensor = file->tensors.find(GetParam());
    ASSERT_NE(tensor, file->tensors.end());
    const GgufTypeRow& type = *find_gguf_type(static_cast<std::uint32_t>(tensor->second.type));
    EXPECT_EQ(type.name, GetParam());

    const std::string expected_file = read_file(vectors_dir / "types.safetensors");
    const auto expected = parse_safetensors_header(
        std::as_bytes(std::span(expected_file.data(), expected_file.size())), "types");
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    std::size_t compared = 0;
    for (const SafetensorsEntry& entry : *expected) {
        if (entry.name != GetParam()) {
            continue;
        }
        EXPECT_EQ(entry.shape, tensor->second.shape);
        const std::size_t count = (entry.end - entry.begin) / sizeof(float);
        std::vector<float> values(count);
        type.dequantize(tensor->second.data, values.data(), count / type.block);
        for (std::size_t i = 0; i < count; ++i) {
            std::uint32_t bits;
            std::memcpy(&bits, expected_file.data() + entry.begin + i * sizeof(float), 4);
            ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), bits) << "at " << i;
            ++compared;
        }
    }
    EXPECT_GE(compared, 120u);
}

INSTANTIATE_TEST_SUITE_P(types, QuantisedType,
                         testing::Values("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0",
                                         "Q5_1", "Q4_K", "Q6_K"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Halves, of_every_bit_pattern_convert_exactly_with_and_without_the_cpu_instruction) {
    std::vector<std::uint16_t> halves(0x10000);
    for (std::size_t i = 0; i < halves.size(); ++i) {
        halves[i] = static_cast<std::uint16_t>(i);
    }
    std::vector<float> fast(halves.size());
    std::vector<float> portable(halves.size());
    f16_to_f32(halves.data(), fast.data(), halves.size());
    f16_to_f32_portable(halves.data(), portable.data(), halves.size());
    for (std::uint32_t i = 0; i < halves.size(); ++i) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(fast[i]), std::bit_cast<std::uint32_t>(portable[i]))
            << i;
        const int exponent = static_cast<int>(i >> 10 & 31);
        const double mantissa = i & 1023;
        if (exponent == 31) {
            EXPECT_TRUE(mantissa == 0 ? std::isinf(fast[i]) : std::isnan(fast[i])) << i;
            continue;
        }
        const double magnitude =
            exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
        ASSERT_EQ(fast[i], i & 0x8000 ? -magnitude : magnitude) << i;
    }
}

TEST(Halves, convert_from_addresses_and_counts_that_are_not_round) {
    std::vector<unsigned char> bytes(2 * 37 + 1);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<unsigned char>(i * 7);
    }
    for (std::size_t count = 0; count <= 37; ++count) {
        std::vector<float> out(count + 1, 123.0f);
        f16_to_f32(bytes.data() + 1, out.data(), count);
        std::vector<float> expected(count + 1, 123.0f);
        f16_to_f32_portable(bytes.data() + 1, expected.data(), count);
        EXPECT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0) << count;
    }
}

std::vector<float> read_all(const WeightSource& weights, const TensorSpec& spec) {
    std::size_t count = 1;
    for (const std::int64_t dimension : spec.shape) {
        count *= static_cast<std::size_t>(dimension);
    }
    std::vector<float> values(count);
    const std::int64_t rows = spec.shape.size() == 1 ? 1 : spec.shape[0];
    const Status status = weights.read_rows(spec.name, 0, rows, values.data());
    EXPECT_TRUE(status.ok()) << status.error().message;
    return values;
}

class TinyModel : public testing::TestWithParam<const char*> {};

TEST_P(TinyModel, has_the_same_config_weights_and_tokens_in_both_forms) {
    const std::string name = GetParam();
    const auto folder = open_model(vectors_dir / name);
    ASSERT_TRUE(folder.ok()) << folder.error().message;
    const auto gguf = open_model(vectors_dir / (name + ".gguf"));
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;

    const ModelConfig& a = folder->config;
    const ModelConfig& b = gguf->config;
    EXPECT_EQ(a.family, b.family);
    EXPECT_EQ(std::tuple(a.layers, a.width, a.heads, a.kv_heads, a.head_dim, a.ffn, a.vocabulary),
              std::tuple(b.layers, b.width, b.heads, b.kv_heads, b.head_dim, b.ffn, b.vocabulary));
    EXPECT_EQ(std::tuple(a.positions, a.embed_width, a.norm_eps, a.activation, a.tied_head),
              std::tuple(b.positions, b.embed_width, b.norm_eps, b.activation, b.tied_head));
    EXPECT_EQ(std::tuple(a.linear_bias, a.qkv_bias, a.o_bias, a.mlp_bias, a.eos_id),
              std::tuple(b.linear_bias, b.qkv_bias, b.o_bias, b.mlp_bias, b.eos_id));
    EXPECT_EQ(a.rope.theta, b.rope.theta);
    ASSERT_EQ(a.rope.llama3.has_value(), b.rope.llama3.has_value());
    if (a.rope.llama3) {
        EXPECT_EQ(a.rope.llama3->factor, b.rope.llama3->factor);
        EXPECT_EQ(a.rope.llama3->low_freq_factor, b.rope.llama3->low_freq_factor);
        EXPECT_EQ(a.rope.llama3->high_freq_factor, b.rope.llama3->high_freq_factor);
        EXPECT_EQ(a.rope.llama3->original_positions, b.rope.llama3->original_positions);
    }
    for (const TensorSpec& spec : required_tensors(a)) {
        EXPECT_EQ(read_all(*folder->weights, spec), read_all(*gguf->weights, spec)) << spec.name;
    }
    const std::string text = "the cat and the 12345 hats!! <|endoftext|>\u00e9";
    EXPECT_EQ(folder->tokenizer->vocabulary(), gguf->tokenizer->vocabulary());
    EXPECT_EQ(gguf->tokenizer->decode(gguf->tokenizer->encode(text)), text);
}

INSTANTIATE_TEST_SUITE_P(families, TinyModel,
                         testing::Values("llama-tiny", "qwen2-tiny", "gpt2-tiny"));

TEST(WeightSource, gives_any_range_of_rows_in_both_forms) {
    for (const char* name : {"llama-tiny", "llama-tiny.gguf", "gpt2-tiny", "gpt2-tiny.gguf"}) {
        const auto model = open_model(vectors_dir / name);
        ASSERT_TRUE(model.ok()) << model.error().message;
        const bool is_gpt2 = model->config.family == ModelFamily::gpt2;
        const std::string linear =
            is_gpt2 ? "h.1.attn.c_attn.weight" : "model.layers.1.self_attn.q_proj.weight";
        const auto shape = model->weights->shape(linear);
        ASSERT_TRUE(shape.ok());
        const auto all = read_all(*model->weights, {linear, *shape});
        const std::int64_t columns = (*shape)[1];
        std::vector<float> part(static_cast<std::size_t>(3 * columns));
        ASSERT_TRUE(model->weights->read_rows(linear, 5, 8, part.data()).ok());
        EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 5 * columns)) << name;
        EXPECT_TRUE(model->weights->read_rows(linear, 5, 5, nullptr).ok());

        const auto past = model->weights->read_rows(linear, 0, (*shape)[0] + 1, part.data());
        ASSERT_FALSE(past.ok());
        EXPECT_EQ(past.error().code, ErrorCode::invalid_input);
        EXPECT_FALSE(model->weights->read_rows(linear, -1, 1, part.data()).ok());
        EXPECT_FALSE(model->weights->read_rows(linear, 3, 2, part.data()).ok());
    }
}

TEST(WeightSource, names_the_nearest_tensor_when_one_is_missing) {
    const auto model = open_model(vectors_dir / "llama-tiny.gguf");
    ASSERT_TRUE(model.ok());
    const auto shape = model->weights->shape("model.layers.1.mlp.upp_proj.weight");
    ASSERT_FALSE(shape.ok());
    EXPECT_EQ(shape.error().code, ErrorCode::not_found);
    EXPECT_EQ(message_of(shape, vectors_dir),
              "llama-tiny.gguf: tensor 'model.layers.1.mlp.upp_proj.weight' is missing; the "
              "nearest name is 'model.layers.1.mlp.up_proj.weight'");
    EXPECT_FALSE(model->weights->contains("model.layers.1.mlp.upp_proj.weight"));
    EXPECT_TRUE(model->weights->contains("model.layers.1.mlp.up_proj.weight"));
    EXPECT_EQ(model->weights->stored_type("model.layers.1.mlp.up_proj.weight"), "Q5_0");
}

}  // namespace
}  // namespace bitsweep
