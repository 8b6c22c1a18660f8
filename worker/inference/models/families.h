// The decoder families of this build. A new family is one file with one loader and one row in
// table.cpp.
#pragma once

#include <span>

#include "schemas/status.h"
#include "worker/inference/models/decoder.h"

namespace bitsweep {

class Loader;

struct ModelFamilyRow {
    ModelFamily family;
    Result<Decoder> (*load)(Loader& loader);
};

// The visible table, one row per family.
std::span<const ModelFamilyRow> model_families();

// Loads the decoder that the loader's config names, through the table.
Result<Decoder> load_decoder(Loader& loader);

Result<Decoder> load_gpt2(Loader& loader);
Result<Decoder> load_opt(Loader& loader);
Result<Decoder> load_llama(Loader& loader);  // and Qwen2, Mistral

}  // namespace bitsweep
