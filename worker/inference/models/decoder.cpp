#include "worker/inference/models/decoder.h"

#include <algorithm>

namespace bitsweep {
namespace {

// Rotary angles of a chunk's positions; null where the decoder has none.
struct Angles {
    const float* cos = nullptr;
    const float* sin = nullptr;
};

Status embed(const Decoder& decoder, const Pass& pass, const Chunk& chunk) {
    const Activations& act = pass.act;
    const std::int64_t rows = chunk.rows();
    if (decoder.project_in) {
        decoder.embeddings.tokens.look_up(pass, chunk.ids, rows, act.e);
        TRY(decoder.project_in->apply(pass, act.e, act.x, rows));
    } else {
        decoder.embeddings.tokens.look_up(pass, chunk.ids, rows, act.x);
    }
    if (decoder.positions) {
        const Table table = decoder.positions->table();
        table.look_up_positions(pass, chunk, decoder.positions->offset, act.h);
        add_rows(pass, act.x, act.h, rows, table.width);
    }
    return {};
}

Angles make_angles(const Decoder& decoder, const Pass& pass, const Chunk& chunk) {
    if (decoder.rope_frequencies.empty()) {
        return {};
    }
    const auto half = static_cast<std::int64_t>(decoder.rope_frequencies.size());
    float* cos = pass.act.rotary;
    float* sin = cos + chunk.tokens * half;
    rope_angles(decoder.rope_frequencies, chunk.position, chunk.tokens, cos, sin);
    return {cos, sin};
}

// act.mlp -> the input of the down projection.
const float* activate(const Decoder& decoder, const DecoderLayer& layer, const Pass& pass,
                      std::int64_t rows) {
    const Activations& act = pass.act;
    if (decoder.gated) {
        gate_rows(pass, decoder.activation, act.mlp, act.gated, rows, layer.down.in_features);
        return act.gated;
    }
    activate_rows(pass, decoder.activation, act.mlp, rows, layer.up.out_features);
    return act.mlp;
}

Status run_layer(const Decoder& decoder, const Pass& pass, const Chunk& chunk, std::int64_t index,
                 const Angles& angles) {
    const DecoderLayer& layer = decoder.layers[static_cast<std::size_t>(index)];
    const Activations& act = pass.act;
    const std::int64_t rows = chunk.rows();
    const std::int64_t width = layer.o.out_features;
    const bool before = decoder.norm_placement == NormPlacement::pre;
    const float* input = before ? act.h : act.x;
    if (before) {
        layer.attention_norm.apply(pass, act.x, act.h, rows);
    }
    TRY(layer.qkv.apply(pass, input, act.qkv, rows, act.attn));
    if (angles.cos != nullptr) {
        rope_rows(pass, layer.attention, chunk, angles.cos, angles.sin, act.qkv);
    }
    attend_rows(pass, layer.attention, index, chunk, act.qkv, act.attn);
    TRY(layer.o.apply(pass, act.attn, act.h, rows));
    add_rows(pass, act.x, act.h, rows, width);
    if (before) {
        layer.mlp_norm.apply(pass, act.x, act.h, rows);
    } else {
        layer.attention_norm.apply(pass, act.x, act.x, rows);
    }
    TRY(layer.up.apply(pass, input, act.mlp, rows, act.gated));
    TRY(layer.down.apply(pass, activate(decoder, layer, pass, rows), act.h, rows));
    add_rows(pass, act.x, act.h, rows, width);
    if (!before) {
        layer.mlp_norm.apply(pass, act.x, act.x, rows);
    }
    return {};
}

}  // namespace

Status run_decoder(const Decoder& decoder, const Pass& pass, const Chunk& chunk) {
    TRY(embed(decoder, pass, chunk));
    const Angles angles = make_angles(decoder, pass, chunk);
    for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
        TRY(run_layer(decoder, pass, chunk, static_cast<std::int64_t>(i), angles));
    }
    return {};
}

Status embed_chunk(const Decoder& decoder, const Pass& pass, const Chunk& chunk) {
    return embed(decoder, pass, chunk);
}

Status run_decoder_layer(const Decoder& decoder, const Pass& pass, const Chunk& chunk,
                         std::int64_t index) {
    return run_layer(decoder, pass, chunk, index, make_angles(decoder, pass, chunk));
}

Status decoder_logits(const Decoder& decoder, const Pass& pass, const float* x, std::int64_t rows,
                      float* out) {
    const Activations& act = pass.act;
    if (decoder.final_norm) {
        decoder.final_norm->apply(pass, x, act.e, rows);
        x = act.e;
    }
    if (decoder.project_out) {
        // `x` may lie in h, and the projection must not write what it reads.
        float* to = x == act.e ? act.h : act.e;
        TRY(decoder.project_out->apply(pass, x, to, rows));
        x = to;
    }
    return decoder.embeddings.head.apply(pass, x, out, rows);
}

std::uint64_t Decoder::bytes_per_token() const {
    std::uint64_t bytes = embeddings.head.bytes_per_call() + embeddings.row_bytes +
                          (positions ? positions->row_bytes : 0) +
                          (final_norm ? final_norm->bytes() : 0);
    for (const auto* projection : {&project_in, &project_out}) {
        bytes += *projection ? (*projection)->bytes_per_call() : 0;
    }
    for (const DecoderLayer& layer : layers) {
        bytes += layer.attention_norm.bytes() + layer.mlp_norm.bytes();
        for (const Projection* linear : {&layer.qkv, &layer.o, &layer.up, &layer.down}) {
            bytes += linear->bytes_per_call();
        }
    }
    return bytes;
}

std::int64_t Decoder::keys_per_token(std::int64_t position) const {
    std::int64_t keys = 0;
    for (const DecoderLayer& layer : layers) {
        const std::int64_t window = layer.attention.window;
        keys += window > 0 ? std::min(position + 1, window) : position + 1;
    }
    return keys;
}

}  // namespace bitsweep
