// Which tensors a family consists of, under which canonical names and shapes. One list serves the
// check of a checkpoint, the random generator and the tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/inference/config.h"

namespace bitsweep {

struct TensorSpec {
    std::string name;                 // canonical, "model.layers.0.mlp.up_proj.weight"
    std::vector<std::int64_t> shape;  // logical: a linear weight is [out_features, in_features]
};

// Every tensor that a forward pass of `config` reads, in the order of the layers.
std::vector<TensorSpec> required_tensors(const ModelConfig& config);

// The canonical name of a Hugging Face tensor name: prefixes "transformer.", "model.", "decoder."
// present or absent become the family's own.
std::string canonical_name(ModelFamily family, std::string_view file_name);

// GPT-2's Conv1D weights are stored [in, out].
bool is_conv1d_weight(ModelFamily family, std::string_view canonical);

// Tensors that checkpoints carry and no forward pass reads: causal-mask buffers, rotary tables, a
// copy of a tied head.
bool is_ignored_tensor(const ModelConfig& config, std::string_view canonical);

// A tensor inside a decoder layer: one that is neither required nor ignored means that the file
// computes something else than `config` says.
bool is_layer_tensor(ModelFamily family, std::string_view canonical);

}  // namespace bitsweep
