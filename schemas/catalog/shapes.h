// The visible table of model shapes: what a name means before any file is read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "schemas/status.h"

namespace bitsweep {

enum class ModelFamily { gpt2, opt, llama, qwen2, mistral };

std::string_view to_string(ModelFamily family);

struct ModelShape {
    std::string_view name;  // "llama-3.2-1b"
    ModelFamily family;
    std::int64_t layers;
    std::int64_t width;  // hidden size
    std::int64_t heads;
    std::int64_t kv_heads;
    std::int64_t head_dim;
    std::int64_t ffn;  // intermediate size
    std::int64_t vocabulary;
    std::int64_t positions;    // longest context
    bool tied;                 // the head is the embedding
    std::int64_t embed_width;  // OPT's word_embed_proj_dim, else = width
    double rope_theta;         // 0: learned positions
    std::int64_t parameters;   // published count, checked by a test against shape_parameters()
};

std::span<const ModelShape> shape_table();

// nullptr when the name is unknown. Names compare without case.
const ModelShape* find_shape(std::string_view name);

// The known name with the smallest edit distance, for "did you mean".
std::string nearest_shape(std::string_view name);

// Parameters of the architecture, biases and norms included, tied tensors once.
std::int64_t shape_parameters(const ModelShape& shape);

}  // namespace bitsweep
