// config.json of every family, and what is refused in it.
#include "worker/inference/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/files/support.h"

namespace bitsweep {
namespace {

using nlohmann::json;
using namespace testing_files;

const json llama = json::parse(R"({"model_type":"llama","hidden_size":64,"intermediate_size":96,
  "num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":128,"vocab_size":100,
  "rms_norm_eps":1e-5,"hidden_act":"silu"})");
const json opt = json::parse(R"({"model_type":"opt","hidden_size":64,"ffn_dim":96,
  "num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":128,"vocab_size":100})");
const json gpt2 = json::parse(R"({"model_type":"gpt2","n_embd":48,"n_head":4,"n_layer":2,
  "n_positions":128,"vocab_size":100})");

json with(json base, const char* changes) {
    base.update(json::parse(changes));
    return base;
}

class Config : public testing::Test {
 protected:
    Result<ModelConfig> read(const std::string& text) {
        std::filesystem::create_directories(folder_.path() / "m");
        write_file(folder_.path() / "m" / "config.json", text);
        return config_from_json(folder_.path() / "m" / "config.json");
    }
    ModelConfig good(const json& document) {
        const auto config = read(document.dump());
        EXPECT_TRUE(config.ok()) << config.error().message;
        return config.ok() ? *config : ModelConfig{};
    }
    std::string bad(const std::string& text, ErrorCode code) {
        const auto config = read(text);
        EXPECT_TRUE(!config.ok() && config.error().code == code);
        return message_of(config, folder_.path() / "m");
    }
    std::string bad(const json& document, ErrorCode code) { return bad(document.dump(), code); }
    TempFolder folder_;
};

TEST_F(Config, of_llama_has_the_defaults_of_transformers) {
    const ModelConfig config = good(llama);
    EXPECT_EQ(config.family, ModelFamily::llama);
    EXPECT_EQ(config.name, "m");
    EXPECT_EQ(config.kv_heads, 4);
    EXPECT_EQ(config.head_dim, 16);
    EXPECT_EQ(config.rope.theta, 10000);
    EXPECT_FALSE(config.tied_head);
    EXPECT_FALSE(config.linear_bias || config.qkv_bias || config.o_bias || config.mlp_bias);
    EXPECT_EQ(config.eos_id, -1);
    EXPECT_EQ(config.sliding_window, 0);
}

TEST_F(Config, of_llama_reads_grouped_heads_biases_and_an_explicit_head_size) {
    const ModelConfig config = good(with(llama, R"({"num_key_value_heads":2,"head_dim":24,
      "attention_bias":true,"tie_word_embeddings":true,"eos_token_id":[7,8]})"));
    EXPECT_EQ(config.kv_heads, 2);
    EXPECT_EQ(config.head_dim, 24);
    EXPECT_TRUE(config.qkv_bias && config.o_bias);
    EXPECT_FALSE(config.mlp_bias || config.linear_bias);
    EXPECT_TRUE(config.tied_head);
    EXPECT_EQ(config.eos_id, 7);
}

TEST_F(Config, reads_rope_scaling_under_its_old_and_new_names) {
    const ModelConfig linear =
        good(with(llama, R"({"rope_theta":5000.0,"rope_scaling":{"type":"linear","factor":2.0}})"));
    EXPECT_EQ(linear.rope.theta, 5000);
    EXPECT_EQ(linear.rope.linear_factor, 2);
    const char* scaled = R"({"rope_parameters":{"rope_theta":500000.0,"rope_type":"llama3",
      "factor":32.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
      "original_max_position_embeddings":8192}})";
    const ModelConfig llama3 = good(with(llama, scaled));
    EXPECT_EQ(llama3.rope.theta, 500000);
    ASSERT_TRUE(llama3.rope.llama3.has_value());
    EXPECT_EQ(llama3.rope.llama3->factor, 32);
    EXPECT_EQ(llama3.rope.llama3->original_positions, 8192);
    EXPECT_FALSE(good(with(llama, R"({"rope_scaling":null})")).rope.llama3.has_value());
    EXPECT_EQ(bad(with(llama, R"({"rope_scaling":{"rope_type":"yarn","factor":4.0}})"),
                  ErrorCode::unsupported),
              "config.json: rope_scaling: rope type 'yarn'; known are default, linear, llama3");
    EXPECT_EQ(bad(with(llama, R"({"rope_scaling":{"rope_type":"llama3","factor":4.0}})"),
                  ErrorCode::invalid_input),
              "config.json: rope_scaling: 'low_freq_factor' is missing; wanted a number");
}

TEST_F(Config, of_qwen2_has_biases_on_q_k_v_and_a_window_only_where_it_says_so) {
    const json qwen = with(llama, R"({"model_type":"qwen2","num_key_value_heads":2,
      "sliding_window":32,"max_window_layers":1})");
    const ModelConfig off = good(with(qwen, R"({"use_sliding_window":false})"));
    EXPECT_TRUE(off.qkv_bias);
    EXPECT_FALSE(off.o_bias || off.mlp_bias || off.linear_bias);
    EXPECT_EQ(off.sliding_window, 0);
    const ModelConfig on = good(with(qwen, R"({"use_sliding_window":true})"));
    EXPECT_EQ(on.sliding_window, 32);
    EXPECT_EQ(on.sliding_from_layer, 1);
    const ModelConfig listed = good(with(qwen, R"({"use_sliding_window":true,
      "layer_types":["sliding_attention","sliding_attention"]})"));
    EXPECT_EQ(listed.sliding_from_layer, 0);
    EXPECT_EQ(bad(with(qwen, R"({"use_sliding_window":true,
      "layer_types":["sliding_attention","full_attention"]})"),
                  ErrorCode::unsupported),
              "config.json: 'layer_types' mixes windows and full attention; only full attention "
              "first and sliding windows after it can run");
}

TEST_F(Config, of_mistral_may_have_no_window) {
    const json mistral = with(llama, R"({"model_type":"mistral","num_key_value_heads":2})");
    EXPECT_EQ(good(with(mistral, R"({"sliding_window":16})")).sliding_window, 16);
    EXPECT_EQ(good(with(mistral, R"({"sliding_window":null})")).sliding_window, 0);
    EXPECT_EQ(good(mistral).sliding_window, 4096);  // what transformers takes for an absent key
}

TEST_F(Config, of_gpt2_reads_the_inner_size_or_takes_four_widths) {
    const ModelConfig config = good(gpt2);
    EXPECT_EQ(config.ffn, 192);
    EXPECT_EQ(config.head_dim, 12);
    EXPECT_TRUE(config.tied_head && config.linear_bias && config.qkv_bias && config.mlp_bias);
    EXPECT_EQ(config.activation, Activation::gelu_tanh);
    EXPECT_TRUE(config.scale_attn);
    EXPECT_EQ(good(with(gpt2, R"({"n_inner":null})")).ffn, 192);
    const ModelConfig odd = good(with(gpt2, R"({"n_inner":50,"scale_attn_weights":false,
      "scale_attn_by_inverse_layer_idx":true,"activation_function":"gelu"})"));
    EXPECT_EQ(odd.ffn, 50);
    EXPECT_FALSE(odd.scale_attn);
    EXPECT_TRUE(odd.scale_attn_by_layer);
    EXPECT_EQ(odd.activation, Activation::gelu_erf);
}

TEST_F(Config, of_opt_reads_pre_and_post_norm_projections_and_biases) {
    const ModelConfig pre = good(opt);
    EXPECT_EQ(pre.norm_placement, NormPlacement::pre);
    EXPECT_TRUE(pre.final_norm && pre.tied_head && pre.linear_bias && pre.norm_affine);
    EXPECT_EQ(pre.embed_width, 64);
    EXPECT_EQ(pre.position_offset, 2);
    EXPECT_EQ(pre.activation, Activation::relu);
    const ModelConfig post =
        good(with(opt, R"({"do_layer_norm_before":false,"word_embed_proj_dim":32})"));
    EXPECT_EQ(post.norm_placement, NormPlacement::post);
    EXPECT_FALSE(post.final_norm);
    EXPECT_EQ(post.embed_width, 32);
    const ModelConfig bare = good(with(opt, R"({"_remove_final_layer_norm":true,
      "enable_bias":false,"layer_norm_elementwise_affine":false})"));
    EXPECT_FALSE(bare.final_norm || bare.linear_bias || bare.qkv_bias || bare.norm_affine);
}

TEST_F(Config, of_an_unknown_architecture_lists_the_known_ones) {
    EXPECT_EQ(bad(with(llama, R"({"model_type":"mamba"})"), ErrorCode::unsupported),
              "config.json: unknown architecture 'mamba'; known are gpt2, opt, llama, qwen2, "
              "mistral");
    EXPECT_EQ(bad(json::parse("{}"), ErrorCode::invalid_input),
              "config.json: 'model_type' is missing; wanted a string");
}

TEST_F(Config, of_a_checkpoint_that_others_quantised_is_refused) {
    const char* bnb =
        R"({"quantization_config":{"quant_method":"bitsandbytes","load_in_8bit":true}})";
    EXPECT_EQ(bad(with(llama, bnb), ErrorCode::unsupported),
              "config.json: the checkpoint is already quantised (quantization_config: "
              "'bitsandbytes'); bitsweep quantises by itself: use the F32, F16 or BF16 checkpoint");
}

TEST_F(Config, with_sizes_that_do_not_fit_together_is_refused) {
    EXPECT_EQ(bad(with(gpt2, R"({"n_head":5})"), ErrorCode::invalid_input),
              "config.json: hidden size 48 is not a multiple of 5 heads");
    EXPECT_EQ(bad(with(llama, R"({"num_key_value_heads":3})"), ErrorCode::invalid_input),
              "config.json: 4 attention heads are not a multiple of 3 key-value heads");
    EXPECT_EQ(bad(with(llama, R"({"head_dim":15})"), ErrorCode::invalid_input),
              "config.json: head size 15 is odd; rotary positions need pairs");
    EXPECT_EQ(bad(with(llama, R"({"num_attention_heads":128})"), ErrorCode::invalid_input),
              "config.json: head size 0 with 128 heads cannot be");
}

TEST_F(Config, field_of_a_wrong_kind_is_shown_with_what_was_wanted) {
    EXPECT_EQ(bad(with(llama, R"({"hidden_size":"64"})"), ErrorCode::invalid_input),
              "config.json: 'hidden_size' is \"64\"; wanted an integer from 1 to 16777216");
    EXPECT_EQ(bad(with(llama, R"({"vocab_size":0})"), ErrorCode::invalid_input),
              "config.json: 'vocab_size' is 0; wanted an integer from 1 to 16777216");
    EXPECT_EQ(bad(with(llama, R"({"vocab_size":18446744073709551615})"), ErrorCode::invalid_input),
              "config.json: 'vocab_size' is 18446744073709551615; wanted an integer from 1 to "
              "16777216");
    EXPECT_EQ(bad(with(llama, R"({"rms_norm_eps":-1.0})"), ErrorCode::invalid_input),
              "config.json: 'rms_norm_eps' is -1.0; wanted a number above 0");
    EXPECT_EQ(bad(with(llama, R"({"mlp_bias":"yes"})"), ErrorCode::invalid_input),
              "config.json: 'mlp_bias' is \"yes\"; wanted true or false");
    EXPECT_EQ(bad(with(llama, R"({"eos_token_id":100})"), ErrorCode::invalid_input),
              "config.json: 'eos_token_id' is 100; wanted an id below vocab_size (100)");
    EXPECT_EQ(bad(with(llama, R"({"hidden_act":"mish"})"), ErrorCode::unsupported),
              "config.json: 'hidden_act' is 'mish'; known are gelu, gelu_new, gelu_pytorch_tanh, "
              "relu, silu");
    EXPECT_EQ(bad(with(llama, R"({"hidden_act":"relu"})"), ErrorCode::unsupported),
              "config.json: 'hidden_act' is 'relu'; this family runs with silu");
}

TEST_F(Config, that_is_not_json_says_where) {
    EXPECT_EQ(bad(std::string("{\"model_type\":\"llama\",}"), ErrorCode::corrupt),
              "config.json: not JSON at byte 23, near '\"llama\",}'");
    EXPECT_EQ(bad(std::string("[1]"), ErrorCode::corrupt), "config.json: not a JSON object");
    EXPECT_EQ(bad(std::string(R"({"a":1,"a":2})"), ErrorCode::corrupt),
              "config.json: the key 'a' appears twice");
    EXPECT_EQ(message_of(config_from_json(folder_.path() / "no.json"), folder_.path()),
              "no.json: no such file");
}

TEST(ConfigOfShape, agrees_with_the_families) {
    for (const ModelShape& shape : shape_table()) {
        const ModelConfig config = config_from_shape(shape);
        EXPECT_EQ(config.name, shape.name);
        EXPECT_EQ(config.vocabulary, shape.vocabulary);
        EXPECT_EQ(config.linear_bias,
                  shape.family == ModelFamily::gpt2 || shape.family == ModelFamily::opt);
        EXPECT_EQ(config.position_offset, shape.family == ModelFamily::opt ? 2 : 0);
        EXPECT_EQ(config.qkv_bias, config.linear_bias || shape.family == ModelFamily::qwen2);
    }
}

}  // namespace
}  // namespace bitsweep
