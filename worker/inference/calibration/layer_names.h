// Which tensors stand behind the parts of a decoder layer, family by family: what calibration
// rewrites. The same names as models/<family>.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/inference/config.h"

namespace bitsweep {

// The weight tensors that read one input, in the order of the projection's rows.
using SharedInput = std::vector<std::string>;

struct LayerNames {
    std::string attention_norm;  // without ".weight"
    SharedInput qkv;             // q, k, v; or one joint matrix
    SharedInput o;
    std::string mlp_norm;
    SharedInput up;  // gate and up where the decoder is gated
    SharedInput down;
};

LayerNames layer_names(ModelFamily family, std::int64_t layer);

// "X.weight" -> "X.bias"
std::string bias_of(const std::string& weight);

}  // namespace bitsweep
