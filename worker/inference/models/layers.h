// What the families are made of: packed linears with a name, norms, embedding tables, rotary
// angles and attention over the cache.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cpu/threads.h"
#include "worker/inference/kv_cache.h"
#include "worker/inference/models/activations.h"
#include "worker/inference/models/ops.h"
#include "worker/inference/quant/method.h"

namespace bitsweep {

// Equal stretches of `sequences` sequences: row = sequence * tokens + token; all begin at
// `position`.
struct Chunk {
    const std::int32_t* ids = nullptr;  // [sequences, tokens], inside the vocabulary
    std::int64_t sequences = 1;
    std::int64_t tokens = 1;
    std::int64_t position = 0;
    std::int64_t rows() const { return sequences * tokens; }
};

using InputObserver =
    std::function<void(std::size_t projection, const float* x, std::int64_t rows)>;

// What one forward pass works with; owned by the engine.
struct Pass {
    ThreadPool& threads;
    Workspace& workspace;
    const KvCache& kv;
    const Activations& act;
    // One recorder for each Projection (by its index), or null.
    std::vector<OutlierRecorder>* outliers = nullptr;
    // Told of every Projection's input x[rows, in_features], by its index; or null.
    const InputObserver* observer = nullptr;
    LayerClock* clock = nullptr;  // by Projection::index; or null
};

// One packed linear layer, or several that read the same input (q, k and v; gate and up): then
// their outputs stand side by side in each row of y.
struct Projection {
    std::string name;  // "model.layers.3.mlp.down_proj", "model.layers.3.self_attn.qkv_proj"
    std::int64_t out_features = 0;
    std::int64_t in_features = 0;
    std::size_t index = 0;  // into Pass::outliers
    bool paired = false;    // rows in the loader's RowOrder, not in the files'

    struct Part {
        std::unique_ptr<Linear> linear;
        std::int64_t out_features = 0;
    };
    std::vector<Part> parts;  // one, unless their rows may not be packed together

    // y[rows, out_features] = linear(x[rows, in_features]). `scratch` holds [rows, widest part];
    // only read where there are several parts.
    Status apply(const Pass& pass, const float* x, float* y, std::int64_t rows,
                 float* scratch = nullptr) const;
    std::uint64_t bytes_per_call() const;
};

struct Norm {
    enum class Kind { rms, layer };
    Kind kind = Kind::rms;
    double eps = 1e-5;
    std::int64_t width = 0;
    std::unique_ptr<Buffer> buffer;  // weight [width], then bias [width] of a layer norm; or null
    std::uint64_t bytes() const { return buffer ? buffer->bytes() : 0; }

    // y[rows, width] = norm(x[rows, width]); in place where x == y.
    void apply(const Pass& pass, const float* x, float* y, std::int64_t rows) const;
};

// Rows of a packed table: token or position embeddings.
struct Table {
    const Linear* packed = nullptr;  // the head's own where it is tied
    std::int64_t width = 0;

    // y[row] = the table's row ids[row].
    void look_up(const Pass& pass, const std::int32_t* ids, std::int64_t rows, float* y) const;
    // y[row] = the table's row of that row's position + offset.
    void look_up_positions(const Pass& pass, const Chunk& chunk, std::int64_t offset,
                           float* y) const;
};

// x += y, [count].
void add_rows(const Pass& pass, float* x, const float* y, std::int64_t rows, std::int64_t width);

// In place, [rows, width].
void activate_rows(const Pass& pass, Activation activation, float* x, std::int64_t rows,
                   std::int64_t width);

// y[rows, ffn] = act(gate) * up, where gate_up is [rows, 2 ffn].
void gate_rows(const Pass& pass, Activation activation, const float* gate_up, float* y,
               std::int64_t rows, std::int64_t ffn);

struct AttentionShape {
    std::int64_t heads = 0;
    std::int64_t kv_heads = 0;
    std::int64_t head_dim = 0;
    float scale = 1;
    std::int64_t window = 0;  // query p sees keys p - window < k <= p; 0: all k <= p
};

// Stores this chunk's keys and values in the cache and writes the attention of every row.
// qkv [rows, (heads + 2 kv_heads) * head_dim], out [rows, heads * head_dim].
void attend_rows(const Pass& pass, const AttentionShape& shape, std::int64_t layer,
                 const Chunk& chunk, const float* qkv, float* out);

// Rotary frequencies [head_dim / 2], float32 as transformers computes them (modeling_rope_utils:
// default, "linear" and "llama3").
std::vector<float> rope_frequencies(const RopeConfig& rope, std::int64_t head_dim);

// Cosines and sines [tokens, frequencies] of positions [position, position + tokens).
void rope_angles(std::span<const float> frequencies, std::int64_t position, std::int64_t tokens,
                 float* cos, float* sin);

// Rotates queries and keys of qkv in place; cos and sin as rope_angles writes them.
void rope_rows(const Pass& pass, const AttentionShape& shape, const Chunk& chunk, const float* cos,
               const float* sin, float* qkv);

}  // namespace bitsweep
