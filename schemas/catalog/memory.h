// The VRAM formula: what a job will allocate, computed before it runs. The runner's ledger counts
// the same categories, and a test holds the two together.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {

// What keys and values are stored as, `kv` of a cell. bits16: half precision, float32 for method
// fp32. int8: codes with one float32 scale for each head, position and side. fp8: e4m3, no scales.
enum class KvFormat { bits16, int8, fp8 };

// "16", "int8", "fp8"; nothing else.
std::optional<KvFormat> kv_from_string(std::string_view text);

// Bytes by category, as the memory ledger reports them.
struct MemoryBytes {
    std::uint64_t weight_codes = 0;   // packed codes of all linear layers
    std::uint64_t weight_scales = 0;  // their scales, zero points, code books
    std::uint64_t embeddings = 0;     // token and position embeddings and the head (once if tied)
    std::uint64_t other_weights = 0;  // norms and biases
    std::uint64_t kv_cache = 0;
    std::uint64_t activations = 0;  // buffers that live through a token
    std::uint64_t workspace = 0;    // scratch of kernels, dequantised tiles during prefill
    std::uint64_t total() const {
        return weight_codes + weight_scales + embeddings + other_weights + kv_cache + activations +
               workspace;
    }
};

// Most rows (batch x tokens) of one forward pass; a longer prompt is taken in pieces. A card wants
// many: 2,048 tokens of Llama-3.1-8B at once fill the multiprocessors that 512 leave idle.
inline constexpr std::int64_t cpu_prefill_rows = 512;
inline constexpr std::int64_t card_prefill_rows = 2048;

struct MemoryQuestion {
    const ModelShape* shape = nullptr;
    MethodId method;
    bool decomposes = true;  // the outlier threshold, where the method reads one, is above 0
    int head_bits = 16;
    KvFormat kv = KvFormat::bits16;
    std::int64_t batch = 1;
    std::int64_t context = 2048;  // prompt + new tokens
    std::int64_t prefill_rows = cpu_prefill_rows;
};

// What the output head and the embeddings are packed with: head_bits 16 (fp16; fp32 and bf16 for
// the methods of that name), 8 (int8 rows) or 4 (int4-g64).
MethodId head_method(const MethodId& method, int head_bits);

// Whether layers with `in_features` inputs may be packed as one (q, k and v; gate and up) without
// changing a number: not when blocks of nf4 and fp4 would run from one layer into the next or share
// what their scales stand above, and not where a weight has one scale.
bool joins_rows(const MethodId& method, std::int64_t in_features);

// Weights and KV cache are exact; activations and workspace are an upper estimate.
MemoryBytes estimate_memory(const MemoryQuestion& question);

}  // namespace bitsweep
