// Opening a model, whatever its form: a Hugging Face folder, a GGUF file, or a name with random
// weights.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/config.h"
#include "worker/inference/tokenizer.h"
#include "worker/inference/weights.h"

namespace bitsweep {

struct ModelFiles {
    ModelConfig config;
    std::unique_ptr<WeightSource> weights;
    std::unique_ptr<Tokenizer> tokenizer;  // null for random weights and folders without one
    std::filesystem::path path;            // folder or file; empty for random weights
    std::string format;                    // "safetensors", "gguf", "random"
    std::string calibrated_for;            // the method that decided on `weights`; else empty
};

// A folder with config.json, or a *.gguf file. Every tensor that the family reads is there with the
// shape that the config gives; the tokenizer is the folder's (tokenizer.json, or vocab.json with
// merges.txt) or its parent's. Errors as config.h, weights.h and tokenizer.h say.
Result<ModelFiles> open_model(const std::filesystem::path& path);

// A name from schemas/catalog/shapes.h with seeded random weights.
Result<ModelFiles> open_random_model(std::string_view shape_name,
                                     const RandomWeightsOptions& options);

}  // namespace bitsweep
