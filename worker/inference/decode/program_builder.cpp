#include "worker/inference/decode/program_builder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

namespace bitsweep::decode {
namespace {

// Limits of the kernel: a thread holds 32 inputs of a product (stream_inputs.cuh); 4 to 32 lanes
// share a position (stream_attention.cuh); the scales of one step lie an even number apart
// (stream_feed.cuh).
constexpr std::int32_t most_inputs = 16'384;
constexpr std::int32_t least_group = 32, most_group = 512;
constexpr std::int32_t block_of_code_book = 64;
constexpr std::int32_t least_split = 128, most_splits = 8;
constexpr std::size_t alignment = 256;

Error no(const std::string& why) {
    return make_error(ErrorCode::unsupported, "the streaming kernel does not serve " + why);
}

bool is_grouped(Codes kind) {
    return kind == Codes::i4_group || kind == Codes::lut4;
}

// Why not, or null.
const char* unserved(Codes kind) {
    switch (kind) {
        case Codes::f32:
            return "32-bit weights";
        case Codes::i8_group:
            return "8-bit weights with a scale per group";
        case Codes::e4m3:
            return "8-bit floats";
        case Codes::planes:
            return "codes of 2, 3, 5, 6 or 7 bits";
        case Codes::lut4_flat:
            return "4-bit blocks that run over row ends";
        default:
            return nullptr;
    }
}

Status check_matrix(const std::string& name, const Gemv& g, std::int32_t rows_per_unit) {
    const std::int32_t in = g.in_features;
    if (const char* why = unserved(g.kind)) {
        return no(name + " of " + why);
    }
    if (in > most_inputs || in % 4 != 0) {
        return no(name + " with " + std::to_string(in) + " inputs (a multiple of 4 up to " +
                  std::to_string(most_inputs) + ")");
    }
    if (g.rows % rows_per_unit != 0 || g.rows >= std::int64_t{1} << 31) {
        return no(name + " with " + std::to_string(g.rows) + " rows");
    }
    if (g.kind == Codes::i4_group) {
        const bool power = g.group > 0 && std::has_single_bit(static_cast<unsigned>(g.group));
        if (!power || g.group < least_group || g.group > most_group || in % g.group != 0) {
            return no(name + " in groups of " + std::to_string(g.group) + " over " +
                      std::to_string(in) +
                      " inputs (a power of two, 32 to 512, that divides them)");
        }
    }
    if (g.kind == Codes::lut4 && (g.group != block_of_code_book || in % g.group != 0)) {
        return no(name + ": 4-bit blocks of " + std::to_string(g.group) + " over " +
                  std::to_string(in) + " inputs (blocks of 64 that fill the rows)");
    }
    return {};
}

Status check_norm(const std::string& name, const NormParts& norm, bool layer_norm) {
    if (norm.weight == nullptr || (norm.bias != nullptr) != layer_norm) {
        return no(name + " without its weights");
    }
    return {};
}

Status check_layer(const ProgramParts& parts, const LayerParts& layer) {
    const bool layer_norm = layer.attention_norm.bias != nullptr;
    TRY(check_norm("a norm", layer.attention_norm, layer_norm));
    TRY(check_norm("a norm", layer.mlp_norm, layer_norm));
    TRY(check_matrix("q, k and v", layer.qkv, 2));
    TRY(check_matrix("the attention's output", layer.o, 1));
    TRY(check_matrix(parts.gated ? "gate and up" : "up", layer.up, parts.gated ? 2 : 1));
    return check_matrix("down", layer.down, 1);
}

class Carver {
 public:
    template <class T>
    std::size_t take(std::int64_t count) {
        const std::size_t at = end_;
        end_ +=
            (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment * alignment;
        return at;
    }
    std::size_t end() const { return end_; }

 private:
    std::size_t end_ = 0;
};

template <class T>
T* at(std::byte* block, std::size_t offset) {
    return reinterpret_cast<T*>(block + offset);
}

std::int64_t ffn_of(const ProgramParts& parts) {
    return parts.layers.front().down.in_features;
}

// Puts the stages together in order.
class Builder {
 public:
    Builder(const ProgramParts& parts, const ProgramLayout& layout, std::byte* block)
        : parts_(parts),
          hidden_(at<FloatWord>(block, layout.hidden)),
          qkv_(at<FloatWord>(block, layout.qkv)),
          partial_(at<FloatWord>(block, layout.partial)),
          ffn_(at<HalfWord>(block, layout.ffn)),
          logits_(at<float>(block, layout.logits)) {}

    std::vector<Stage> build() {
        Stage embed;
        embed.kind = StageKind::embed;
        stages_.push_back(embed);
        for (const LayerParts& layer : parts_.layers) {
            add_attention(layer);
            add_mlp(layer);
        }
        Gemv head = normed(parts_.head, parts_.final_norm);
        head.epilogue = Epilogue::logits;
        head.out = logits_;
        push(head);
        return std::move(stages_);
    }

 private:
    void push(const Gemv& gemv) {
        Stage stage;
        stage.gemv = gemv;
        stage.gemv.input_stage = static_cast<std::int32_t>(stages_.size()) - 1;
        stages_.push_back(stage);
    }

    Gemv normed(Gemv gemv, const NormParts& norm) const {
        gemv.prologue = norm.bias != nullptr ? Prologue::layer_norm : Prologue::rms_norm;
        gemv.input = hidden_;
        gemv.norm_weight = norm.weight;
        gemv.norm_bias = norm.bias;
        gemv.norm_eps = norm.eps;
        return gemv;
    }

    Gemv to_hidden(Gemv gemv) const {
        gemv.epilogue = Epilogue::residual;
        gemv.residual = hidden_;
        gemv.out = hidden_;
        return gemv;
    }

    void add_attention(const LayerParts& layer) {
        Gemv qkv = normed(layer.qkv, layer.attention_norm);
        qkv.rows_per_unit = 2;
        qkv.epilogue = Epilogue::qkv;
        qkv.out = qkv_;
        push(qkv);
        Stage stage;
        stage.kind = StageKind::attention;
        stage.attention.qkv = qkv_;
        stage.attention.k = layer.keys;
        stage.attention.v = layer.values;
        stage.attention.partial = partial_;
        stage.attention.scale = layer.attention_scale;
        stage.attention.sliding_window = layer.sliding_window;
        stages_.push_back(stage);
        Gemv o = to_hidden(layer.o);
        o.prologue = Prologue::attention;
        o.input = partial_;
        push(o);
    }

    void add_mlp(const LayerParts& layer) {
        Gemv up = normed(layer.up, layer.mlp_norm);
        up.rows_per_unit = parts_.gated ? 2 : 1;
        up.epilogue = parts_.gated ? Epilogue::swiglu : parts_.activation;
        up.out = ffn_;
        push(up);
        Gemv down = to_hidden(layer.down);
        down.prologue = Prologue::none;
        down.input = ffn_;
        push(down);
    }

    const ProgramParts& parts_;
    FloatWord *hidden_, *qkv_, *partial_;
    HalfWord* ffn_;
    float* logits_;
    std::vector<Stage> stages_;
};

}  // namespace

Status check_parts(const ProgramParts& parts) {
    const std::int32_t d = parts.head_dim;
    if (d != 32 && d != 64 && d != 128 && d != 256) {
        return no("heads of " + std::to_string(d) + " dimensions (32, 64, 128, 256)");
    }
    if (parts.layers.empty() || parts.kv_heads < 1 || parts.heads % parts.kv_heads != 0) {
        return no(std::to_string(parts.heads) + " heads over " + std::to_string(parts.kv_heads) +
                  " for keys and values");
    }
    if (parts.context < 1 || parts.cache_stride < parts.context) {
        return no("a cache of " + std::to_string(parts.cache_stride) +
                  " positions for a context of " + std::to_string(parts.context));
    }
    const Codes table = parts.embedding.kind;
    if (table != Codes::f16 && table != Codes::bf16 && table != Codes::i8) {
        return no("a token table below 8 bits; use --head 16 or 8");
    }
    for (const LayerParts& layer : parts.layers) {
        TRY(check_layer(parts, layer));
    }
    TRY(check_norm("a final norm", parts.final_norm,
                   parts.layers.front().attention_norm.bias != nullptr));
    return check_matrix("the head", parts.head, 1);
}

std::int32_t splits_for(const ProgramParts& parts, int multiprocessors) {
    const std::int32_t by_length = (parts.context + least_split - 1) / least_split;
    const std::int32_t by_blocks = std::max(multiprocessors / parts.heads, 1);
    return std::clamp(std::min(by_length, by_blocks), 1, most_splits);
}

ProgramLayout layout_of(const ProgramParts& parts, std::int32_t splits, int blocks) {
    Carver carver;
    ProgramLayout layout;
    const std::int64_t heads = parts.heads;
    const std::int64_t angles =
        parts.rope_frequencies.empty() ? 0 : std::int64_t{parts.context} * parts.head_dim / 2;
    layout.stages = carver.take<Stage>(static_cast<std::int64_t>(parts.layers.size()) * 5 + 2);
    layout.hidden = carver.take<FloatWord>(parts.width);
    layout.qkv = carver.take<FloatWord>((heads + 2 * parts.kv_heads) * parts.head_dim);
    layout.partial = carver.take<FloatWord>(splits * heads * (parts.head_dim + 2));
    layout.ffn = carver.take<HalfWord>(ffn_of(parts));
    layout.logits = carver.take<float>(parts.head.rows);
    layout.token = carver.take<std::int32_t>(5);
    layout.new_tokens = carver.take<std::int32_t>(parts.context + 1);
    layout.best = carver.take<std::uint64_t>(2 * blocks);
    layout.token_ns = carver.take<std::uint64_t>(parts.context);
    layout.rope_cos = carver.take<float>(angles);
    layout.rope_sin = carver.take<float>(angles);
    layout.bytes = carver.end();
    return layout;
}

std::vector<Stage> stages_of(const ProgramParts& parts, const ProgramLayout& layout,
                             std::byte* block) {
    return Builder(parts, layout, block).build();
}

Program program_of(const ProgramParts& parts, const ProgramLayout& layout, std::byte* block,
                   std::int32_t splits) {
    Program p;
    p.stages = at<Stage>(block, layout.stages);
    p.stage_count = static_cast<std::int32_t>(parts.layers.size()) * 5 + 2;
    p.width = parts.width;
    p.heads = parts.heads;
    p.kv_heads = parts.kv_heads;
    p.head_dim = parts.head_dim;
    p.context = parts.cache_stride;
    p.splits = splits;
    p.vocabulary = static_cast<std::int32_t>(parts.head.rows);
    for (const LayerParts& layer : parts.layers) {
        for (const Gemv* g : {&layer.qkv, &layer.o, &layer.up, &layer.down}) {
            p.max_in_features = std::max(p.max_in_features, g->in_features);
            p.outliers = p.outliers || (g->kind == Codes::i8_i8 && g->threshold > 0);
        }
    }
    p.max_in_features = std::max(p.max_in_features, parts.head.in_features);
    p.embedding = parts.embedding.codes;
    p.embedding_scales = static_cast<const float*>(parts.embedding.scales);
    p.embedding_kind = parts.embedding.kind;
    p.position_embedding = parts.position_embedding;
    p.position_offset = parts.position_offset;
    p.hidden = at<FloatWord>(block, layout.hidden);
    if (!parts.rope_frequencies.empty()) {
        p.rope_cos = at<float>(block, layout.rope_cos);
        p.rope_sin = at<float>(block, layout.rope_sin);
    }
    p.token = at<std::int32_t>(block, layout.token);
    p.position = p.token + 1;
    p.epoch = reinterpret_cast<std::uint32_t*>(p.token + 2);
    p.new_tokens = at<std::int32_t>(block, layout.new_tokens);
    p.best = at<std::uint64_t>(block, layout.best);
    p.token_ns = at<std::uint64_t>(block, layout.token_ns);
    return p;
}

RopeTables rope_tables(const ProgramParts& parts) {
    RopeTables tables;
    for (std::int32_t position = 0; position < parts.context; ++position) {
        for (const float frequency : parts.rope_frequencies) {
            const float angle = static_cast<float>(position) * frequency;
            tables.cos.push_back(std::cos(angle));
            tables.sin.push_back(std::sin(angle));
        }
    }
    return tables;
}

std::uint64_t weight_bytes(const std::vector<Stage>& stages) {
    std::uint64_t bytes = 0;
    for (const Stage& stage : stages) {
        if (stage.kind != StageKind::gemv) {
            continue;
        }
        const Gemv& g = stage.gemv;
        const auto rows = static_cast<std::uint64_t>(g.rows);
        bytes += rows * static_cast<std::uint64_t>(g.row_chunks) * 16;
        if (g.bias != nullptr) {
            bytes += rows * sizeof(float);
        }
        if (is_grouped(g.kind)) {
            const auto groups = static_cast<std::uint64_t>(g.in_features / g.group);
            bytes += rows * groups * (g.kind == Codes::i4_group ? 2 : 4);
        } else if (g.scales != nullptr) {
            bytes += rows * sizeof(float);
        }
    }
    return bytes;
}

}  // namespace bitsweep::decode
