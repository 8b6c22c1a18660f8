// One decoder, packed for one device, as plain data: a family's loader fills it, one forward pass
// runs it. Ids in, residual rows and logits out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

// The token table and the head: one packed matrix when they are tied.
struct Embeddings {
    Table tokens;
    Projection head;
    std::unique_ptr<Linear> own_table;  // only where the head is not tied
    std::uint64_t row_bytes = 0;        // read by a look-up besides the head's own bytes
};

// Learned positions: row position + offset of a table [positions + offset, width].
struct PositionTable {
    std::unique_ptr<Linear> packed;
    std::int64_t width = 0;
    std::int64_t offset = 0;
    std::uint64_t row_bytes = 0;

    Table table() const { return Table{packed.get(), width}; }
};

struct DecoderLayer {
    Norm attention_norm;
    Projection qkv;
    Projection o;
    Norm mlp_norm;
    Projection up;  // gate and up where the decoder is gated
    Projection down;
    AttentionShape attention;
};

struct Decoder {
    Embeddings embeddings;
    std::optional<PositionTable> positions;
    std::optional<Projection> project_in;   // embeddings to width, OPT-350m
    std::optional<Projection> project_out;  // and back, before the head
    std::vector<float> rope_frequencies;    // [head_dim / 2]; empty: no rotary positions
    Activation activation = Activation::silu;
    bool gated = false;
    NormPlacement norm_placement = NormPlacement::pre;  // of both norms of a layer
    std::vector<DecoderLayer> layers;
    std::optional<Norm> final_norm;
    // Every linear input, in the order of the layers, the head last.
    std::vector<LinearInput> linear_inputs;

    // Bytes of weights, scales, biases, norms and embedding rows that one decode step reads.
    std::uint64_t bytes_per_token() const;
    // Keys that a decode step at `position` reads, summed over layers (the window shortens them).
    std::int64_t keys_per_token(std::int64_t position) const;
};

// Embeds the ids and runs every layer; fills the cache at chunk.position. The residual rows
// [chunk.rows(), width] stay in pass.act.x.
Status run_decoder(const Decoder& decoder, const Pass& pass, const Chunk& chunk);

// Its steps, for those who go layer by layer (calibration): the embedding of the ids, and layer
// `index` over the rows in pass.act.x.
Status embed_chunk(const Decoder& decoder, const Pass& pass, const Chunk& chunk);
Status run_decoder_layer(const Decoder& decoder, const Pass& pass, const Chunk& chunk,
                         std::int64_t index);

// Final norm and head: residual rows x[rows, width] -> out[rows, vocabulary]. rows <=
// pass.act.rows; x may be part of pass.act.x or of pass.act.h; overwrites pass.act.e and .h.
Status decoder_logits(const Decoder& decoder, const Pass& pass, const float* x, std::int64_t rows,
                      float* out);

}  // namespace bitsweep
