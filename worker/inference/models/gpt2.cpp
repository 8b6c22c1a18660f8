// GPT-2 and DialoGPT: layer norm before each block, learned positions, one matrix for q, k and v.
// Source: transformers modeling_gpt2.
//
// Tensors: wte, wpe, h.N.{ln_1, attn.{c_attn,c_proj}, ln_2, mlp.{c_fc,c_proj}}, ln_f, lm_head where
// it is not tied.
#include <cmath>

#include "worker/inference/models/families.h"
#include "worker/inference/models/loader.h"

namespace bitsweep {
namespace {

float attention_scale(const ModelConfig& config, std::int64_t layer) {
    const float scale =
        config.scale_attn ? 1.0f / std::sqrt(static_cast<float>(config.head_dim)) : 1.0f;
    return config.scale_attn_by_layer ? scale / static_cast<float>(layer + 1) : scale;
}

Result<DecoderLayer> load_layer(Loader& loader, std::int64_t index) {
    const ModelConfig& config = loader.config();
    const std::string prefix = "h." + std::to_string(index) + ".";
    const std::int64_t width = config.width;
    const auto linear = [&](std::string_view name, std::int64_t out, std::int64_t in,
                            RowOrder order = RowOrder::natural) {
        return loader.projection(prefix + std::string(name), prefix, {{name, out}}, in,
                                 Loader::Bias::yes, order);
    };
    DecoderLayer layer;
    layer.attention_norm = TRY(loader.layer_norm(prefix + "ln_1"));
    layer.qkv = TRY(linear("attn.c_attn", 3 * width, width, RowOrder::head_halves));
    layer.o = TRY(linear("attn.c_proj", width, width));
    layer.mlp_norm = TRY(loader.layer_norm(prefix + "ln_2"));
    layer.up = TRY(linear("mlp.c_fc", config.ffn, width));
    layer.down = TRY(linear("mlp.c_proj", width, config.ffn));
    layer.attention = AttentionShape{.heads = config.heads,
                                     .kv_heads = config.kv_heads,
                                     .head_dim = config.head_dim,
                                     .scale = attention_scale(config, index),
                                     .window = 0};
    return layer;
}

}  // namespace

Result<Decoder> load_gpt2(Loader& loader) {
    const ModelConfig& config = loader.config();
    Decoder decoder;
    decoder.activation = config.activation;
    decoder.positions = TRY(loader.position_table("wpe.weight", config.positions, 0));
    for (std::int64_t i = 0; i < config.layers; ++i) {
        decoder.layers.push_back(TRY(load_layer(loader, i)));
    }
    decoder.final_norm = TRY(loader.layer_norm("ln_f"));
    decoder.embeddings = TRY(loader.embeddings("wte.weight"));
    decoder.linear_inputs = loader.take_inputs();
    return decoder;
}

}  // namespace bitsweep
