// A GGUF file as a model: its metadata as ModelConfig, its tensors under Hugging Face names.
#pragma once

#include <memory>

#include "schemas/status.h"
#include "worker/inference/config.h"
#include "worker/inference/gguf_reader.h"
#include "worker/inference/weights.h"

namespace bitsweep {

// Architectures llama (also Mistral, which GGUF calls llama), qwen2 and gpt2. unsupported for the
// others (the message lists these), for expert layers, split files and rope scalings other than
// linear and llama3; invalid_input for sizes that do not fit together.
Result<ModelConfig> config_from_gguf(const GgufFile& file);

// Every tensor that `config` needs is there with its shape, or not_found / invalid_input says which
// is not. Keeps the file mapped.
Result<std::unique_ptr<WeightSource>> open_gguf_weights(GgufFile file, const ModelConfig& config);

}  // namespace bitsweep
