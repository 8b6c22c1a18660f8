// The buffers of one forward pass: float32 rows, allocated once, counted as activations.
#pragma once

#include <cstdint>
#include <memory>

#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/config.h"

namespace bitsweep {

// Row widths in floats; `rows` is the most rows (sequences x tokens) of one forward.
// schemas/catalog/memory.cpp counts the same buffers.
struct Activations {
    std::int64_t rows = 0;
    float* x = nullptr;       // residual stream [rows, width]
    float* h = nullptr;       // output of norms and of linears that return to the stream
    float* e = nullptr;       // embeddings and hidden rows before the head [rows, wide]
    float* qkv = nullptr;     // [rows, q + 2 kv]
    float* attn = nullptr;    // [rows, q]
    float* mlp = nullptr;     // [rows, ffn], or [rows, 2 ffn] with a gate
    float* gated = nullptr;   // [rows, ffn]; null without a gate
    float* rotary = nullptr;  // cosines and sines [rows, head_dim]; null without RoPE

    std::unique_ptr<Buffer> buffer;
};

Result<Activations> make_activations(Backend& backend, const ModelConfig& config,
                                     std::int64_t rows);

}  // namespace bitsweep
