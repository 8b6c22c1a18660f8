// A decoder's token as a flat program of stages, the same for every model family and method. The
// streaming kernel (stream_kernel.cu) interprets it; the naive kernels (reference.cu) are its
// specification. Plain data: pointers are device pointers, lengths in elements unless said.
#pragma once

#include <cstdint>

namespace bitsweep::decode {

// How 16 bytes of codes become weights. A row of W[out, in] is a run of 16-byte chunks.
enum class Codes : std::int32_t {
    f16,       // 8 weights a chunk
    bf16,      // 8
    i8,        // 16, one float scale a row
    i8_i8,     // 16, activations rounded to 8 bits (w8a8, llmint8-fused), one float scale a row
    i4_group,  // 32, code - 8, one half scale per group
    lut4,      // 32, 16-entry code book (nf4, fp4), one float absmax per group (here: of 64)
    // Not served by the streaming kernel:
    f32,       // 4
    i8_group,  // 16, one half scale per group
    planes,    // 2, 3, 5, 6 or 7 bits, one half scale per group: 128 weights are `bits` chunks, the
               // planes of 4, 2 and 1 bits that `bits` is the sum of (low bits first), in order of
               // the weights inside each; code - 2^(bits - 1)
    e4m3,      // 16, 8-bit floats (quant/fp8/e4m3.h), one float scale a row or for all rows
    lut4_flat,  // 32, as lut4, but blocks run over row ends
};

#ifdef __CUDACC__
#define BITSWEEP_BOTH __host__ __device__
#else
#define BITSWEEP_BOTH
#endif

BITSWEEP_BOTH inline constexpr int weights_per_chunk(Codes codes) {
    return codes == Codes::f32                                                       ? 4
           : codes == Codes::f16 || codes == Codes::bf16                             ? 8
           : codes == Codes::i8 || codes == Codes::i8_i8 || codes == Codes::i8_group ? 16
           : codes == Codes::e4m3                                                    ? 16
                                                                                     : 32;
}

// What happens to the input vector before the product.
enum class Prologue : std::int32_t {
    none,        // as it is
    rms_norm,    // x / rms(x) * weight
    layer_norm,  // (x - mean) / sd * weight + bias
    attention,   // partial results of the attention stage, combined over splits
};

// What happens to the sums of a unit (one row, or two rows that belong together).
enum class Epilogue : std::int32_t {
    residual,   // out[row] = residual[row] + value + bias
    gelu_tanh,  // out[row] = gelu(value + bias)
    gelu_erf,
    relu,
    swiglu,  // rows 2u (gate) and 2u+1 (up): out[u] = silu(gate) * up
    qkv,     // rows 2u, 2u+1 of one head: rotate (if rope), then q out, k and v into the cache
    logits,  // out[row] = value, and the best one is kept
};

// Activations travel between blocks as words that carry the number of the step that wrote them
// (the token's number times stages, plus the stage): a reader waits until the tag is the one it
// expects, so no barrier separates stages. After an activation function, where the next product
// rounds to half anyway, value and tag share 32 bits.
struct alignas(8) FloatWord {
    float value;
    std::uint32_t tag;
};
struct alignas(4) HalfWord {
    std::uint16_t value;
    std::uint16_t tag;
};

// One matrix-vector product with its prologue and epilogue.
struct Gemv {
    const std::uint8_t* codes = nullptr;  // [rows][row_chunks][16]
    const void* scales = nullptr;         // per Codes
    const float* bias = nullptr;          // [rows] or null
    std::int64_t rows = 0;
    std::int32_t in_features = 0;
    std::int32_t row_chunks = 0;     // ceil(in_features / weights_per_chunk)
    std::int32_t rows_per_unit = 1;  // 2: swiglu, qkv
    std::int32_t group = 0;          // weights per scale (i4_group); 64 for lut4
    Codes kind = Codes::f16;
    Prologue prologue = Prologue::none;
    Epilogue epilogue = Epilogue::residual;
    float threshold = 0;           // i8_i8: outliers are |x| >= threshold; 0: none
    std::int32_t input_stage = 0;  // index of the stage that makes the input
    const void* input = nullptr;   // tagged words: float, or half after an activation
    const float* norm_weight = nullptr;
    const float* norm_bias = nullptr;
    float norm_eps = 0;
    const FloatWord* residual = nullptr;
    void* out = nullptr;  // tagged words; logits: plain floats
};

struct Attention {
    const FloatWord* qkv = nullptr;  // [heads + 2 kv_heads][head_dim] of this position
    std::uint16_t* k = nullptr;      // half [kv_heads][context][head_dim]; this position is added
    std::uint16_t* v = nullptr;
    FloatWord* partial =
        nullptr;      // [splits][heads][head_dim + 2]: sums, maximum, sum of exponentials
    float scale = 1;  // of q.k
    std::int32_t sliding_window = 0;
};

enum class StageKind : std::int32_t { embed, gemv, attention };

struct Stage {
    StageKind kind = StageKind::gemv;
    Gemv gemv;
    Attention attention;
};

// The whole token. Position and token are data on the device, so that one launch or one captured
// graph serves every token.
struct Program {
    const Stage* stages = nullptr;  // device, [stage_count]
    std::int32_t stage_count = 0;
    std::int32_t width = 0;
    std::int32_t heads = 0;
    std::int32_t kv_heads = 0;
    std::int32_t head_dim = 0;
    std::int32_t context = 0;  // positions that the cache holds
    std::int32_t splits = 1;   // most splits of the attention over the sequence
    std::int32_t max_in_features = 0;
    std::int32_t vocabulary = 0;
    bool outliers = false;  // some stage is i8_i8 with a threshold
    // Embedding stage
    const std::uint8_t* embedding = nullptr;  // rows of `embedding_kind`
    const float* embedding_scales = nullptr;
    Codes embedding_kind = Codes::f16;
    const float* position_embedding = nullptr;  // [positions][width] or null
    std::int32_t position_offset = 0;
    FloatWord* hidden = nullptr;  // [width]
    // Rotary angles: cos and sin of position * inv_freq, [context][head_dim / 2]; null: none
    const float* rope_cos = nullptr;
    const float* rope_sin = nullptr;
    // State
    std::int32_t* token = nullptr;       // [1] the next input token
    std::int32_t* position = nullptr;    // [1] its position
    std::int32_t* new_tokens = nullptr;  // ring of chosen tokens, [context], indexed by position
    std::uint64_t* best = nullptr;       // [2 * blocks] (logit, tag), (row, tag) of every block
    std::uint32_t* epoch = nullptr;      // [1] steps done by earlier launches
    std::uint64_t* token_ns = nullptr;   // globaltimer after each token of a launch, or null
    std::uint64_t* stamps =
        nullptr;  // [4001] where block 0's time goes (stream_kernel.cu), or null
};

}  // namespace bitsweep::decode
