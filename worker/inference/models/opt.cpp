// OPT: ReLU, learned positions that begin at row 2, norms before each block or (350m) after it, and
// embeddings that may be narrower than the model.
// Source: transformers modeling_opt.
//
// Tensors, all under "decoder.": embed_tokens, embed_positions, project_in, project_out,
// layers.N.{self_attn.{q,k,v,out}_proj, self_attn_layer_norm, fc1, fc2, final_layer_norm},
// final_layer_norm; lm_head where it is not tied.
#include <cmath>

#include "worker/inference/models/families.h"
#include "worker/inference/models/loader.h"

namespace bitsweep {
namespace {

Result<DecoderLayer> load_layer(Loader& loader, std::int64_t index) {
    const ModelConfig& config = loader.config();
    const std::string prefix = "decoder.layers." + std::to_string(index) + ".";
    const std::string attn = prefix + "self_attn.";
    const std::int64_t width = config.width;
    const auto bias = config.linear_bias ? Loader::Bias::yes : Loader::Bias::no;
    DecoderLayer layer;
    layer.attention_norm = TRY(loader.layer_norm(prefix + "self_attn_layer_norm"));
    layer.qkv = TRY(loader.projection(attn + "qkv_proj", attn,
                                      {{"q_proj", width}, {"k_proj", width}, {"v_proj", width}},
                                      width, bias, RowOrder::head_halves));
    layer.o = TRY(loader.projection(attn + "out_proj", attn, {{"out_proj", width}}, width, bias));
    layer.mlp_norm = TRY(loader.layer_norm(prefix + "final_layer_norm"));
    layer.up = TRY(loader.projection(prefix + "fc1", prefix, {{"fc1", config.ffn}}, width, bias));
    layer.down = TRY(loader.projection(prefix + "fc2", prefix, {{"fc2", width}}, config.ffn, bias));
    layer.attention = AttentionShape{.heads = config.heads,
                                     .kv_heads = config.kv_heads,
                                     .head_dim = config.head_dim,
                                     .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
                                     .window = 0};
    return layer;
}

}  // namespace

Result<Decoder> load_opt(Loader& loader) {
    const ModelConfig& config = loader.config();
    Decoder decoder;
    decoder.activation = config.activation;
    decoder.norm_placement = config.norm_placement;
    decoder.positions = TRY(loader.position_table("decoder.embed_positions.weight",
                                                  config.positions + config.position_offset,
                                                  config.position_offset));
    const bool projected = config.embed_width != config.width;
    if (projected) {
        decoder.project_in =
            TRY(loader.projection("decoder.project_in", "decoder.", {{"project_in", config.width}},
                                  config.embed_width, Loader::Bias::no));
    }
    for (std::int64_t i = 0; i < config.layers; ++i) {
        decoder.layers.push_back(TRY(load_layer(loader, i)));
    }
    if (config.final_norm) {
        decoder.final_norm = TRY(loader.layer_norm("decoder.final_layer_norm"));
    }
    if (projected) {
        decoder.project_out = TRY(loader.projection("decoder.project_out", "decoder.",
                                                    {{"project_out", config.embed_width}},
                                                    config.width, Loader::Bias::no));
    }
    decoder.embeddings = TRY(loader.embeddings("decoder.embed_tokens.weight"));
    decoder.linear_inputs = loader.take_inputs();
    return decoder;
}

}  // namespace bitsweep
