#include "schemas/catalog/memory.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "schemas/catalog/job_memory.h"

namespace bitsweep {
namespace {

// Rows of logits that score() holds at once: at most this many bytes, at least 16 rows.
constexpr std::int64_t logits_bytes = std::int64_t{64} << 20;

// Keys are stored in blocks of 16 positions, so that a vector register holds 16 scores.
constexpr std::int64_t key_block = 16;

bool gated(const ModelShape& shape) {
    return shape.family != ModelFamily::gpt2 && shape.family != ModelFamily::opt;
}

// A linear layer as worker/inference/models names and packs it.
struct Linear {
    std::string_view name;             // behind the prefix of its decoder layer
    std::array<std::int64_t, 3> outs;  // layers that read the same input; 0: none
    std::int64_t in = 0;
};

std::array<Linear, 4> layer_linears(const ModelShape& shape) {
    const std::int64_t width = shape.width, ffn = shape.ffn;
    const std::int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
    switch (shape.family) {
        case ModelFamily::gpt2:
            return {{{"attn.c_attn", {q + 2 * kv}, width},
                     {"attn.c_proj", {width}, q},
                     {"mlp.c_fc", {ffn}, width},
                     {"mlp.c_proj", {width}, ffn}}};
        case ModelFamily::opt:
            return {{{"self_attn.qkv_proj", {q, kv, kv}, width},
                     {"self_attn.out_proj", {width}, q},
                     {"fc1", {ffn}, width},
                     {"fc2", {width}, ffn}}};
        default:
            return {{{"self_attn.qkv_proj", {q, kv, kv}, width},
                     {"self_attn.o_proj", {width}, q},
                     {"mlp.gate_up_proj", {ffn, ffn}, width},
                     {"mlp.down_proj", {width}, ffn}}};
    }
}

std::string prefix_of(const ModelShape& shape, std::int64_t layer) {
    const char* before = shape.family == ModelFamily::gpt2  ? "h."
                         : shape.family == ModelFamily::opt ? "decoder.layers."
                                                            : "model.layers.";
    return before + std::to_string(layer) + ".";
}

struct Sum {
    MemoryBytes bytes;

    void add(const MethodId& method, bool decomposes, const Linear& linear, std::int64_t times) {
        const auto packed = [&](std::int64_t out) {
            const PackedBytes one = packed_bytes(method, out, linear.in);
            const std::uint64_t codes = one.codes + (decomposes ? one.originals : 0);
            bytes.weight_codes += codes * static_cast<std::uint64_t>(times);
            bytes.weight_scales += one.scales * static_cast<std::uint64_t>(times);
        };
        // Packed as one where that changes nothing.
        if (joins_rows(method, linear.in)) {
            packed(linear.outs[0] + linear.outs[1] + linear.outs[2]);
            return;
        }
        for (const std::int64_t out : linear.outs) {
            if (out > 0) {
                packed(out);
            }
        }
    }
};

std::uint64_t embedding_bytes(const ModelShape& shape, const MethodId& method, int head_bits) {
    const PackedBytes table =
        packed_bytes(head_method(method, head_bits), shape.vocabulary, shape.embed_width);
    std::uint64_t bytes = (table.codes + table.scales) * (shape.tied ? 1 : 2);
    if (!gated(shape)) {  // learned positions stay at 16 bits whatever the head has
        const std::int64_t offset = shape.family == ModelFamily::opt ? 2 : 0;
        const PackedBytes positions =
            packed_bytes(head_method(method, 16), shape.positions + offset, shape.width);
        bytes += positions.codes + positions.scales;
    }
    return bytes;
}

// Norms and biases, float32.
std::uint64_t other_bytes(const ModelShape& shape) {
    const std::int64_t width = shape.width;
    const std::int64_t qkv = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    std::int64_t per_layer = 2 * width;
    std::int64_t once = width;
    if (!gated(shape)) {
        per_layer = 4 * width + qkv + width + shape.ffn + width;
        once = shape.embed_width == width ? 2 * width : 0;
    } else if (shape.family == ModelFamily::qwen2) {
        per_layer += qkv;
    }
    return static_cast<std::uint64_t>(shape.layers * per_layer + once) * 4;
}

std::int64_t rows_at_once(const MemoryQuestion& question) {
    return std::max(question.batch,
                    std::min(question.prefill_rows, question.batch * question.context));
}

// Buffers of one forward pass, float32 (worker/inference/models/activations.h).
std::uint64_t activation_bytes(const MemoryQuestion& question) {
    const ModelShape& shape = *question.shape;
    const std::int64_t rows = rows_at_once(question);
    const std::int64_t q = shape.heads * shape.head_dim;
    const std::int64_t qkv = q + 2 * shape.kv_heads * shape.head_dim;
    const std::int64_t wide = std::max(shape.width, shape.embed_width);
    const std::int64_t mlp = gated(shape) ? 3 * shape.ffn : shape.ffn;
    const std::int64_t per_row = 3 * wide + qkv + q + mlp + shape.head_dim;
    const std::int64_t logits_rows = std::clamp(logits_bytes / (4 * shape.vocabulary),
                                                std::int64_t{16}, std::max(rows, std::int64_t{16}));
    return static_cast<std::uint64_t>(rows * per_row + logits_rows * shape.vocabulary) * 4;
}

// Scratch of the CPU kernels (worker/inference/quant/shared): 4 MiB, or 16 rows, of dequantised
// weights; activations as 8-bit codes, one plane for a prefill or four for up to 8 rows with their
// scales per group; and LLM.int8()'s gathered outlier columns, at most all of the widest layer.
std::uint64_t workspace_bytes(const MemoryQuestion& question, const LayerMethods& layers) {
    const ModelShape& shape = *question.shape;
    const std::int64_t rows = rows_at_once(question);
    const std::int64_t q = shape.heads * shape.head_dim;
    const std::int64_t in = std::max({shape.width, shape.ffn, shape.embed_width, q});
    const std::int64_t padded = in + 64;
    const std::int64_t tile = std::max(std::int64_t{1} << 20, 16 * in) * 4;
    const std::int64_t digits = std::max(rows, std::int64_t{32}) * (padded + 8) + 32 * padded;
    std::int64_t bytes = tile + digits;
    const bool gathers = question.method.family == MethodFamily::llmint8 ||
                         std::ranges::any_of(layers, [](const auto& layer) {
                             return layer.second.method.family == MethodFamily::llmint8;
                         });
    if (gathers) {
        const std::int64_t kv = shape.kv_heads * shape.head_dim;
        const std::int64_t up = gated(shape) ? 2 * shape.ffn : shape.ffn;
        const std::int64_t out = std::max({q + 2 * kv, up, shape.width});
        bytes += 4 * (2 * rows * in + out * in + rows * out);
    }
    return static_cast<std::uint64_t>(bytes);
}

// A key or a value of one head and position.
std::int64_t kv_row_bytes(const MemoryQuestion& question) {
    const std::int64_t dim = question.shape->head_dim;
    switch (question.kv) {
        case KvFormat::int8:
            return dim + 4;
        case KvFormat::fp8:
            return dim;
        case KvFormat::bits16:
            break;
    }
    return question.method.family == MethodFamily::fp32 ? 4 * dim : 2 * dim;
}

}  // namespace

std::optional<KvFormat> kv_from_string(std::string_view text) {
    return text == "16"     ? std::optional(KvFormat::bits16)
           : text == "int8" ? std::optional(KvFormat::int8)
           : text == "fp8"  ? std::optional(KvFormat::fp8)
                            : std::nullopt;
}

MethodId head_method(const MethodId& method, int head_bits) {
    if (head_bits == 8) {
        return MethodId{MethodFamily::int8, "int8", 8, 0, false};
    }
    if (head_bits == 4) {
        return MethodId{MethodFamily::int_group, "int4-g64", 4, 64, false};
    }
    if (method.family == MethodFamily::fp32) {
        return MethodId{MethodFamily::fp32, "fp32", 32, 0, false};
    }
    if (method.family == MethodFamily::bf16) {
        return MethodId{MethodFamily::bf16, "bf16", 16, 0, false};
    }
    return MethodId{MethodFamily::fp16, "fp16", 16, 0, false};
}

bool joins_rows(const MethodId& method, std::int64_t in_features) {
    const bool blocks_cross_rows =
        method.family == MethodFamily::nf4 || method.family == MethodFamily::fp4;
    if (method.family == MethodFamily::fp8 || scales_by_tensor(method)) {
        return false;
    }
    // Nested scales stand above a mean of their own layer.
    return !blocks_cross_rows || (in_features % method.group == 0 && !method.nested_scales);
}

MemoryBytes estimate_memory(const MemoryQuestion& question) {
    return estimate_memory(question, {});
}

MemoryBytes estimate_memory(const MemoryQuestion& question, const LayerMethods& layers) {
    return with_buffers(weight_memory(question, layers), question, layers);
}

MemoryBytes weight_memory(const MemoryQuestion& question, const LayerMethods& layers) {
    const ModelShape& shape = *question.shape;
    Sum sum;
    const auto add = [&](const Linear& linear, const std::string& prefix, std::int64_t times) {
        const auto own = layers.find(prefix + std::string(linear.name));
        if (own == layers.end()) {
            sum.add(question.method, question.decomposes, linear, times);
        } else {
            sum.add(own->second.method, own->second.threshold > 0, linear, times);
        }
    };
    for (const Linear& linear : layer_linears(shape)) {
        if (layers.empty()) {
            sum.add(question.method, question.decomposes, linear, shape.layers);
            continue;
        }
        for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
            add(linear, prefix_of(shape, layer), 1);
        }
    }
    if (shape.embed_width != shape.width) {  // opt-350m
        add({"project_in", {shape.width}, shape.embed_width}, "decoder.", 1);
        add({"project_out", {shape.embed_width}, shape.width}, "decoder.", 1);
    }
    MemoryBytes bytes = sum.bytes;
    bytes.embeddings = embedding_bytes(shape, question.method, question.head_bits);
    bytes.other_weights = other_bytes(shape);
    return bytes;
}

MemoryBytes with_buffers(MemoryBytes bytes, const MemoryQuestion& question,
                         const LayerMethods& layers) {
    const ModelShape& shape = *question.shape;
    const std::int64_t positions = (question.context + key_block - 1) / key_block * key_block;
    bytes.kv_cache = static_cast<std::uint64_t>(2 * shape.layers * question.batch * positions *
                                                shape.kv_heads * kv_row_bytes(question));
    bytes.activations = activation_bytes(question);
    bytes.workspace = workspace_bytes(question, layers);
    return bytes;
}

}  // namespace bitsweep
