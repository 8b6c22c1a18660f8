// Opening a model, whatever its form: a Hugging Face folder, a GGUF file, or a name with random
// weights.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
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
    std::unique_ptr<Tokenizer> tokenizer;  // null for random weights
    std::filesystem::path path;            // folder or file; empty for random weights
    std::string format;                    // "safetensors", "gguf", "random"
};

// A folder with config.json, or a *.gguf file.
Result<ModelFiles> open_model(const std::filesystem::path& path);

// A name from schemas/catalog/shapes.h with seeded random weights.
Result<ModelFiles> open_random_model(std::string_view shape_name,
                                     const RandomWeightsOptions& options);

// Where `name` lives under `dirs`: DIR/name/config.json, DIR/name.gguf, DIR/name/*.gguf; compared
// without case. not_found lists the folders that were searched and the nearest name in them.
Result<std::filesystem::path> find_model(std::string_view name,
                                         std::span<const std::filesystem::path> dirs);

// Every model name that find_model would find, sorted.
std::vector<std::string> list_models(std::span<const std::filesystem::path> dirs);

}  // namespace bitsweep
