// One decoder of a family, packed for one device: ids in, residual rows and logits out. A new
// family is one file with one loader and one row in table.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/models/layers.h"

namespace bitsweep {

// The input of one or more linear layers, by Projection::index.
struct LinearInput {
    std::string name;
    std::int64_t in_features = 0;
};

class Model {
 public:
    virtual ~Model() = default;

    // Embeds the ids and runs every layer; fills the cache at chunk.position. The residual rows
    // [chunk.rows(), width] stay in pass.act.x.
    virtual Status run(const Pass& pass, const Chunk& chunk) const = 0;

    // Final norm and head: residual rows x[rows, width] -> out[rows, vocabulary]. rows <=
    // pass.act.rows; x may be part of pass.act.x or of pass.act.h; overwrites pass.act.e and .h.
    virtual Status logits(const Pass& pass, const float* x, std::int64_t rows,
                          float* out) const = 0;

    // Every linear input of the model, in the order of the layers, the head last.
    virtual std::span<const LinearInput> linear_inputs() const = 0;

    // Bytes of weights, scales, biases, norms and embedding rows that one decode step reads.
    virtual std::uint64_t bytes_per_token() const = 0;

    // Keys that a decode step at `position` reads, summed over layers (the window shortens them).
    virtual std::int64_t keys_per_token(std::int64_t position) const = 0;
};

class Loader;

struct ModelFamilyRow {
    ModelFamily family;
    Result<std::unique_ptr<Model>> (*load)(Loader& loader);
};

// The visible table, one row per family.
std::span<const ModelFamilyRow> model_families();

Result<std::unique_ptr<Model>> load_gpt2(Loader& loader);
Result<std::unique_ptr<Model>> load_opt(Loader& loader);
Result<std::unique_ptr<Model>> load_llama(Loader& loader);  // and Qwen2, Mistral

}  // namespace bitsweep
