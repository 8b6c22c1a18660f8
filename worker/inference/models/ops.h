// Everything between two weight products, on float32 rows: norms, rotary positions, activations,
// attention over cached keys and values. One table of kernels per instruction set, chosen once.
#pragma once

#include <cstdint>

#include "worker/inference/config.h"

namespace bitsweep {

// Query rows that one attention call takes together; they share keys and values.
constexpr int max_attention_rows = 8;
// Attention keeps its running sums on the stack: 8 rows x 512 floats are 16 KiB.
constexpr std::int64_t max_head_dim = 512;
// Keys are stored in blocks of 16 positions, [block][head_dim][16], so that one vector register
// holds 16 scores and no score needs a horizontal sum. Values are [position][head_dim].
constexpr std::int64_t key_block = 16;

// What keys and values are stored as. i8: codes of -127 to 127 with one float32 scale for the key
// and one for the value of each head and position, absmax / 127. e4m3: 8-bit floats as they come,
// at most 448 in magnitude.
enum class KvType { f32, f16, i8, e4m3 };
constexpr int kv_types = 4;

struct E4m3 {
    std::uint8_t code;
};

// One head of one sequence.
struct KvHead {
    void* keys = nullptr;         // see key_block
    void* values = nullptr;       // [positions][head_dim]
    float* key_scales = nullptr;  // [positions] of i8, else null
    float* value_scales = nullptr;
};

struct AttentionRows {
    int rows = 0;                                 // 1..max_attention_rows
    const float* q[max_attention_rows] = {};      // [head_dim] each
    float* out[max_attention_rows] = {};          // [head_dim] each, overwritten
    std::int64_t first[max_attention_rows] = {};  // keys first <= k < last are visible
    std::int64_t last[max_attention_rows] = {};
    std::int64_t head_dim = 0;
    float scale = 1;
    KvHead cache;
};

// Kernels of one instruction set. The norms may work in place (x == y).
struct Ops {
    // y = x / sqrt(mean(x^2) + eps) * weight, [width].
    void (*rms_norm)(const float* x, const float* weight, float* y, std::int64_t width, double eps);
    // y = (x - mean) / sqrt(var + eps) * weight + bias, biased variance; weight and bias may both
    // be null.
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float* y,
                       std::int64_t width, double eps);
    // In place: x[i], x[i + half] rotated by the angle whose cosine and sine are cos[i], sin[i].
    void (*rope)(float* head, const float* cos, const float* sin, std::int64_t half);
    // x += y.
    void (*add)(float* x, const float* y, std::int64_t count);
    // In place; gelu_tanh, gelu_erf, relu or silu.
    void (*activate)(Activation activation, float* x, std::int64_t count);
    // y = act(gate) * up.
    void (*gated)(Activation activation, const float* gate, const float* up, float* y,
                  std::int64_t count);
    // softmax(scale * q k^T) v over the visible keys of each row; by KvType.
    void (*attention[kv_types])(const AttentionRows& rows);
    // Stores one position of one head: keys [head_dim] in blocks, values [head_dim] in a row; by
    // KvType. What is not finite reads back as NaN from the 8-bit types.
    void (*store[kv_types])(const float* key, const float* value, std::int64_t position,
                            std::int64_t head_dim, const KvHead& to);
    // False when any value is NaN or infinite.
    bool (*all_finite)(const float* x, std::int64_t count);
    // The smallest index among the largest values; NaN never wins.
    std::int64_t (*argmax)(const float* x, std::int64_t count);
};

// The kernels that vector_isa() allows on this machine.
const Ops& ops();

// One per file; null where this build does not have it.
const Ops* ops_generic();
const Ops* ops_avx2();
const Ops* ops_avx512();

}  // namespace bitsweep
