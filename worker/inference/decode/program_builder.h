// From a decoder whose parts lie on a device to the stages that the streaming kernel runs. Pure:
// addresses are copied, never followed, so it is tested without a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/decode/program.h"

namespace bitsweep::decode {

struct NormParts {
    const float* weight = nullptr;  // [width]
    const float* bias = nullptr;    // [width]; null: an RMS norm
    float eps = 1e-5f;
};

// Of a Gemv that stands for a matrix here, codes, scales, bias, rows, in_features, row_chunks,
// group, kind and threshold are read; the builder fills in the rest.
struct LayerParts {
    NormParts attention_norm;
    Gemv qkv;  // rows paired for RoPE (Epilogue::qkv)
    Gemv o;
    NormParts mlp_norm;
    Gemv up;  // gate and up rows in turn where the MLP is gated
    Gemv down;
    std::uint16_t* keys = nullptr;  // half [kv_heads][cache_stride][head_dim]
    std::uint16_t* values = nullptr;
    float attention_scale = 1;
    std::int32_t sliding_window = 0;
};

struct ProgramParts {
    std::int32_t width = 0;
    std::int32_t heads = 0;
    std::int32_t kv_heads = 0;
    std::int32_t head_dim = 0;
    std::int32_t context = 0;       // positions that are served
    std::int32_t cache_stride = 0;  // positions between two heads of the cache, >= context
    bool gated = false;             // silu(gate) * up
    Epilogue activation = Epilogue::gelu_tanh;  // where not gated: gelu_tanh, gelu_erf, relu
    Gemv embedding;
    const float* position_embedding = nullptr;  // [positions][width] or null
    std::int32_t position_offset = 0;
    std::vector<float> rope_frequencies;  // [head_dim / 2]; empty: no rotary positions
    std::vector<LayerParts> layers;
    NormParts final_norm;
    Gemv head;
};

// unsupported, with the one reason why the streaming kernel does not serve this decoder.
Status check_parts(const ProgramParts& parts);

// Most splits of the attention over the sequence: one block a head and split, at most one round of
// blocks, and at least 128 positions a split (stream_inputs.cuh: split_count).
std::int32_t splits_for(const ProgramParts& parts, int multiprocessors);

// Where everything that a program needs besides the decoder lies in one zero-filled block.
struct ProgramLayout {
    std::size_t stages = 0;
    std::size_t hidden = 0;
    std::size_t qkv = 0;
    std::size_t partial = 0;
    std::size_t ffn = 0;
    std::size_t logits = 0;
    std::size_t token = 0;  // token, position, epoch and two words of scratch, 4 bytes each
    std::size_t new_tokens = 0;
    std::size_t best = 0;
    std::size_t token_ns = 0;  // [context]
    std::size_t rope_cos = 0;
    std::size_t rope_sin = 0;
    std::size_t bytes = 0;
};
ProgramLayout layout_of(const ProgramParts& parts, std::int32_t splits, int blocks);

// The stages for parts that passed check_parts, with every buffer inside `block` (an address on
// the device); and the program over them.
std::vector<Stage> stages_of(const ProgramParts& parts, const ProgramLayout& layout,
                             std::byte* block);
Program program_of(const ProgramParts& parts, const ProgramLayout& layout, std::byte* block,
                   std::int32_t splits);

// Cosines, then sines [context][head_dim / 2] of every position, float32 as
// transformers computes them; empty without rotary positions.
struct RopeTables {
    std::vector<float> cos, sin;
};
RopeTables rope_tables(const ProgramParts& parts);

// Bytes that one step of the program reads from weights, scales and biases.
std::uint64_t weight_bytes(const std::vector<Stage>& stages);

}  // namespace bitsweep::decode
