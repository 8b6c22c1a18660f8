// Llama, Qwen2 and Mistral: RMS norm, rotary positions, grouped-query attention, gated MLP.
// Sources: transformers modeling_llama, modeling_qwen2, modeling_mistral.
//
// Tensors: model.embed_tokens, model.layers.N.{input_layernorm, self_attn.{q,k,v,o}_proj,
// post_attention_layernorm, mlp.{gate,up,down}_proj}, model.norm, lm_head where it is not tied.
#include <cmath>

#include "worker/inference/models/families.h"
#include "worker/inference/models/loader.h"

namespace bitsweep {
namespace {

Result<DecoderLayer> load_layer(Loader& loader, std::int64_t index) {
    const ModelConfig& config = loader.config();
    const std::string prefix = "model.layers." + std::to_string(index) + ".";
    const std::string attn = prefix + "self_attn.";
    const std::string mlp = prefix + "mlp.";
    const std::int64_t q = config.heads * config.head_dim;
    const std::int64_t kv = config.kv_heads * config.head_dim;
    const auto bias = [](bool has) { return has ? Loader::Bias::yes : Loader::Bias::no; };
    DecoderLayer layer;
    layer.attention_norm = TRY(loader.rms_norm(prefix + "input_layernorm"));
    layer.qkv = TRY(loader.projection(attn + "qkv_proj", attn,
                                      {{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}}, config.width,
                                      bias(config.qkv_bias), RowOrder::head_halves));
    layer.o = TRY(loader.projection(attn + "o_proj", attn, {{"o_proj", config.width}}, q,
                                    bias(config.o_bias)));
    layer.mlp_norm = TRY(loader.rms_norm(prefix + "post_attention_layernorm"));
    layer.up = TRY(loader.projection(mlp + "gate_up_proj", mlp,
                                     {{"gate_proj", config.ffn}, {"up_proj", config.ffn}},
                                     config.width, bias(config.mlp_bias), RowOrder::gate_up));
    layer.down = TRY(loader.projection(mlp + "down_proj", mlp, {{"down_proj", config.width}},
                                       config.ffn, bias(config.mlp_bias)));
    layer.attention = AttentionShape{
        .heads = config.heads,
        .kv_heads = config.kv_heads,
        .head_dim = config.head_dim,
        .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
        .window = index >= config.sliding_from_layer ? config.sliding_window : 0,
    };
    return layer;
}

}  // namespace

Result<Decoder> load_llama(Loader& loader) {
    const ModelConfig& config = loader.config();
    Decoder decoder;
    decoder.activation = config.activation;
    decoder.gated = true;
    decoder.rope_frequencies = rope_frequencies(config.rope, config.head_dim);
    for (std::int64_t i = 0; i < config.layers; ++i) {
        decoder.layers.push_back(TRY(load_layer(loader, i)));
    }
    decoder.final_norm = TRY(loader.rms_norm("model.norm"));
    decoder.embeddings = TRY(loader.embeddings("model.embed_tokens.weight"));
    decoder.linear_inputs = loader.take_inputs();
    return decoder;
}

}  // namespace bitsweep
