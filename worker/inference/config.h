// ModelConfig: one checked description of a decoder, whatever file it came from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "schemas/catalog/shapes.h"
#include "schemas/status.h"

namespace bitsweep {

enum class Activation { gelu_tanh, gelu_erf, relu, silu };
enum class NormPlacement { pre, post };

// The "llama3" frequency scaling of Llama 3.1 and later (transformers modeling_rope_utils).
struct Llama3RopeScaling {
    double factor = 8;
    double low_freq_factor = 1;
    double high_freq_factor = 4;
    double original_positions = 8192;
};

struct RopeConfig {
    double theta = 10000;
    double linear_factor = 1;  // "linear" scaling: positions divided by this
    std::optional<Llama3RopeScaling> llama3;
};

struct ModelConfig {
    ModelFamily family = ModelFamily::llama;
    std::string name;  // folder or file name, for messages
    std::int64_t layers = 0;
    std::int64_t width = 0;  // hidden size
    std::int64_t heads = 0;
    std::int64_t kv_heads = 0;
    std::int64_t head_dim = 0;  // may differ from width / heads
    std::int64_t ffn = 0;
    std::int64_t vocabulary = 0;
    std::int64_t positions = 0;    // longest context
    std::int64_t embed_width = 0;  // OPT word_embed_proj_dim; = width elsewhere
    double norm_eps = 1e-5;
    Activation activation = Activation::silu;
    NormPlacement norm_placement = NormPlacement::pre;  // OPT-350m: post
    bool final_norm = true;                             // false for post-norm OPT
    bool tied_head = true;
    bool linear_bias = false;  // biases on every linear (GPT-2, OPT; Llama attention_bias+mlp_bias)
    bool qkv_bias = false;     // biases on q, k, v only (Qwen2)
    bool o_bias = false;       // Llama with attention_bias: true on q, k, v and o
    bool mlp_bias = false;
    bool norm_affine = true;
    bool scale_attn = true;            // GPT-2 scale_attn_weights
    bool scale_attn_by_layer = false;  // GPT-2 scale_attn_by_inverse_layer_idx
    std::int64_t position_offset = 0;  // OPT: 2
    std::int64_t sliding_window =
        0;  // Mistral: keys older than this many positions are masked; 0: none
    std::int64_t sliding_from_layer =
        0;  // Qwen2 max_window_layers: layers below it use full attention
    RopeConfig rope;
    std::int32_t eos_id = -1;
};

// Reads and checks a Hugging Face config.json. not_found, corrupt (not JSON), unsupported (unknown
// architecture, activation or rope type; checkpoints already quantised by others), invalid_input
// (missing field, sizes that do not divide); the message names file, key and what was wanted.
Result<ModelConfig> config_from_json(const std::filesystem::path& config_json);

// The shape of the table as a config (random weights).
ModelConfig config_from_shape(const ModelShape& shape);

}  // namespace bitsweep
