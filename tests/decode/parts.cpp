#include "tests/decode/parts.h"

#include <cstdint>

namespace bitsweep::decode::test {
namespace {

// A different address at every call, 4 KiB apart.
template <class T>
T* address() {
    static std::uintptr_t next = 0x10'0000;
    next += 0x1000;
    return reinterpret_cast<T*>(next);
}

Gemv matrix(Codes kind, std::int64_t rows, std::int32_t in, bool bias) {
    Gemv g;
    g.codes = address<const std::uint8_t>();
    g.scales = kind == Codes::f16 || kind == Codes::bf16 ? nullptr : address<const void>();
    g.bias = bias ? address<const float>() : nullptr;
    g.rows = rows;
    g.in_features = in;
    g.row_chunks = (in + weights_per_chunk(kind) - 1) / weights_per_chunk(kind);
    g.group = kind == Codes::i4_group || kind == Codes::lut4 ? 64 : 0;
    g.kind = kind;
    return g;
}

NormParts norm(bool layer_norm) {
    return {address<const float>(), layer_norm ? address<const float>() : nullptr, 1e-6f};
}

ProgramParts parts_of(bool gpt, Codes kind, std::int32_t kv_heads, std::int32_t ffn) {
    ProgramParts parts;
    parts.width = 256;
    parts.heads = 8;
    parts.kv_heads = kv_heads;
    parts.head_dim = 32;
    parts.context = 700;
    parts.cache_stride = 704;
    parts.gated = !gpt;
    const Codes table = kind == Codes::bf16 ? Codes::bf16 : Codes::f16;
    parts.embedding = matrix(table, 1000, parts.width, false);
    parts.head = parts.embedding;
    for (int i = 0; i < 3; ++i) {
        LayerParts layer;
        layer.attention_norm = norm(gpt);
        layer.qkv = matrix(kind, (8 + 2 * kv_heads) * 32, parts.width, gpt);
        layer.o = matrix(kind, parts.width, 256, gpt);
        layer.mlp_norm = norm(gpt);
        layer.up = matrix(kind, gpt ? ffn : 2 * ffn, parts.width, gpt);
        layer.down = matrix(kind, parts.width, ffn, gpt);
        layer.keys = address<std::uint16_t>();
        layer.values = address<std::uint16_t>();
        layer.attention_scale = 0.125f * static_cast<float>(i + 1);
        layer.sliding_window = i == 2 ? 64 : 0;
        parts.layers.push_back(layer);
    }
    parts.final_norm = norm(gpt);
    return parts;
}

}  // namespace

ProgramParts llama_parts(Codes kind) {
    ProgramParts parts = parts_of(false, kind, 4, 704);
    for (int i = 0; i < parts.head_dim / 2; ++i) {
        parts.rope_frequencies.push_back(1.0f / static_cast<float>(1 << i));
    }
    return parts;
}

ProgramParts gpt2_parts(Codes kind) {
    ProgramParts parts = parts_of(true, kind, 8, 1024);
    parts.position_embedding = address<const float>();
    parts.position_offset = 2;
    return parts;
}

}  // namespace bitsweep::decode::test
