// Llama, Qwen2 and Mistral: RMS norm, rotary positions, grouped-query attention, gated MLP.
// Sources: transformers modeling_llama, modeling_qwen2, modeling_mistral.
//
// Tensors: model.embed_tokens, model.layers.N.{input_layernorm, self_attn.{q,k,v,o}_proj,
// post_attention_layernorm, mlp.{gate,up,down}_proj}, model.norm, lm_head where it is not tied.
#include <cmath>

#include "worker/inference/models/loader.h"
#include "worker/inference/models/model.h"

namespace bitsweep {
namespace {

struct LlamaLayer {
    Norm attention_norm;
    Projection qkv;
    Projection o;
    Norm mlp_norm;
    Projection gate_up;
    Projection down;
    AttentionShape attention;
};

class LlamaModel : public Model {
 public:
    static Result<std::unique_ptr<Model>> load(Loader& loader);

    Status run(const Pass& pass, const Chunk& chunk) const override {
        const Activations& act = pass.act;
        embeddings_.tokens.look_up(pass, chunk.ids, chunk.rows(), act.x);
        float* cos = act.rotary;
        float* sin = cos + chunk.tokens * static_cast<std::int64_t>(frequencies_.size());
        rope_angles(frequencies_, chunk.position, chunk.tokens, cos, sin);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            TRY(run_layer(pass, chunk, layers_[i], static_cast<std::int64_t>(i), cos, sin));
        }
        return {};
    }

    Status logits(const Pass& pass, const float* x, std::int64_t rows, float* out) const override {
        final_norm_.apply(pass, x, pass.act.e, rows);
        return embeddings_.head.apply(pass, pass.act.e, out, rows);
    }

    std::span<const LinearInput> linear_inputs() const override { return inputs_; }

    std::uint64_t bytes_per_token() const override {
        std::uint64_t bytes =
            embeddings_.head.bytes_per_call() + embeddings_.row_bytes + final_norm_.bytes();
        for (const LlamaLayer& layer : layers_) {
            bytes += layer.attention_norm.bytes() + layer.mlp_norm.bytes();
            for (const Projection* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
                bytes += linear->bytes_per_call();
            }
        }
        return bytes;
    }

    std::int64_t keys_per_token(std::int64_t position) const override {
        std::int64_t keys = 0;
        for (const LlamaLayer& layer : layers_) {
            const std::int64_t window = layer.attention.window;
            keys += window > 0 ? std::min(position + 1, window) : position + 1;
        }
        return keys;
    }

 private:
    Status run_layer(const Pass& pass, const Chunk& chunk, const LlamaLayer& layer,
                     std::int64_t index, const float* cos, const float* sin) const {
        const Activations& act = pass.act;
        const std::int64_t rows = chunk.rows();
        layer.attention_norm.apply(pass, act.x, act.h, rows);
        TRY(layer.qkv.apply(pass, act.h, act.qkv, rows, act.attn));
        rope_rows(pass, layer.attention, chunk, cos, sin, act.qkv);
        attend_rows(pass, layer.attention, index, chunk, act.qkv, act.attn);
        TRY(layer.o.apply(pass, act.attn, act.h, rows));
        add_rows(pass, act.x, act.h, rows, layer.o.out_features);
        layer.mlp_norm.apply(pass, act.x, act.h, rows);
        TRY(layer.gate_up.apply(pass, act.h, act.mlp, rows, act.gated));
        gate_rows(pass, activation_, act.mlp, act.gated, rows, layer.down.in_features);
        TRY(layer.down.apply(pass, act.gated, act.h, rows));
        add_rows(pass, act.x, act.h, rows, layer.down.out_features);
        return {};
    }

    Activation activation_ = Activation::silu;
    std::vector<float> frequencies_;
    std::vector<LlamaLayer> layers_;
    Norm final_norm_;
    Embeddings embeddings_;
    std::vector<LinearInput> inputs_;
};

Result<LlamaLayer> load_layer(Loader& loader, std::int64_t index) {
    const ModelConfig& config = loader.config();
    const std::string prefix = "model.layers." + std::to_string(index) + ".";
    const std::string attn = prefix + "self_attn.";
    const std::string mlp = prefix + "mlp.";
    const std::int64_t q = config.heads * config.head_dim;
    const std::int64_t kv = config.kv_heads * config.head_dim;
    const auto bias = [](bool has) { return has ? Loader::Bias::yes : Loader::Bias::no; };
    LlamaLayer layer;
    layer.attention_norm = TRY(loader.rms_norm(prefix + "input_layernorm"));
    layer.qkv = TRY(loader.projection(attn + "qkv_proj", attn,
                                      {{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}}, config.width,
                                      bias(config.qkv_bias)));
    layer.o = TRY(loader.projection(attn + "o_proj", attn, {{"o_proj", config.width}}, q,
                                    bias(config.o_bias)));
    layer.mlp_norm = TRY(loader.rms_norm(prefix + "post_attention_layernorm"));
    layer.gate_up = TRY(loader.projection(mlp + "gate_up_proj", mlp,
                                          {{"gate_proj", config.ffn}, {"up_proj", config.ffn}},
                                          config.width, bias(config.mlp_bias)));
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

Result<std::unique_ptr<Model>> LlamaModel::load(Loader& loader) {
    const ModelConfig& config = loader.config();
    auto model = std::make_unique<LlamaModel>();
    model->activation_ = config.activation;
    model->frequencies_ = rope_frequencies(config.rope, config.head_dim);
    for (std::int64_t i = 0; i < config.layers; ++i) {
        model->layers_.push_back(TRY(load_layer(loader, i)));
    }
    model->final_norm_ = TRY(loader.rms_norm("model.norm"));
    model->embeddings_ = TRY(loader.embeddings("model.embed_tokens.weight"));
    model->inputs_ = loader.take_inputs();
    return std::unique_ptr<Model>(std::move(model));
}

}  // namespace

Result<std::unique_ptr<Model>> load_llama(Loader& loader) {
    return LlamaModel::load(loader);
}

}  // namespace bitsweep
