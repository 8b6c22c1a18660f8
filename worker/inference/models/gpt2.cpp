// GPT-2 and DialoGPT: layer norm before each block, learned positions, one matrix for q, k and v.
// Source: transformers modeling_gpt2.
//
// Tensors: wte, wpe, h.N.{ln_1, attn.{c_attn,c_proj}, ln_2, mlp.{c_fc,c_proj}}, ln_f, lm_head where
// it is not tied.
#include <cmath>

#include "worker/inference/models/loader.h"
#include "worker/inference/models/model.h"

namespace bitsweep {
namespace {

struct Gpt2Layer {
    Norm attention_norm;
    Projection qkv;
    Projection o;
    Norm mlp_norm;
    Projection up;
    Projection down;
    AttentionShape attention;
};

class Gpt2Model : public Model {
 public:
    static Result<std::unique_ptr<Model>> load(Loader& loader);

    Status run(const Pass& pass, const Chunk& chunk) const override {
        const Activations& act = pass.act;
        embeddings_.tokens.look_up(pass, chunk.ids, chunk.rows(), act.x);
        positions_.look_up_positions(pass, chunk, 0, act.h);
        add_rows(pass, act.x, act.h, chunk.rows(), positions_.width);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            TRY(run_layer(pass, chunk, layers_[i], static_cast<std::int64_t>(i)));
        }
        return {};
    }

    Status logits(const Pass& pass, const float* x, std::int64_t rows, float* out) const override {
        final_norm_.apply(pass, x, pass.act.e, rows);
        return embeddings_.head.apply(pass, pass.act.e, out, rows);
    }

    std::span<const LinearInput> linear_inputs() const override { return inputs_; }

    std::uint64_t bytes_per_token() const override {
        std::uint64_t bytes = embeddings_.head.bytes_per_call() + embeddings_.row_bytes +
                              position_row_bytes_ + final_norm_.bytes();
        for (const Gpt2Layer& layer : layers_) {
            bytes += layer.attention_norm.bytes() + layer.mlp_norm.bytes();
            for (const Projection* linear : {&layer.qkv, &layer.o, &layer.up, &layer.down}) {
                bytes += linear->bytes_per_call();
            }
        }
        return bytes;
    }

    std::int64_t keys_per_token(std::int64_t position) const override {
        return static_cast<std::int64_t>(layers_.size()) * (position + 1);
    }

 private:
    Status run_layer(const Pass& pass, const Chunk& chunk, const Gpt2Layer& layer,
                     std::int64_t index) const {
        const Activations& act = pass.act;
        const std::int64_t rows = chunk.rows();
        layer.attention_norm.apply(pass, act.x, act.h, rows);
        TRY(layer.qkv.apply(pass, act.h, act.qkv, rows, act.attn));
        attend_rows(pass, layer.attention, index, chunk, act.qkv, act.attn);
        TRY(layer.o.apply(pass, act.attn, act.h, rows));
        add_rows(pass, act.x, act.h, rows, layer.o.out_features);
        layer.mlp_norm.apply(pass, act.x, act.h, rows);
        TRY(layer.up.apply(pass, act.h, act.mlp, rows));
        activate_rows(pass, activation_, act.mlp, rows, layer.up.out_features);
        TRY(layer.down.apply(pass, act.mlp, act.h, rows));
        add_rows(pass, act.x, act.h, rows, layer.down.out_features);
        return {};
    }

    Activation activation_ = Activation::gelu_tanh;
    std::vector<Gpt2Layer> layers_;
    Norm final_norm_;
    Embeddings embeddings_;
    std::unique_ptr<Linear> position_table_;
    Table positions_;
    std::uint64_t position_row_bytes_ = 0;
    std::vector<LinearInput> inputs_;
};

Result<Gpt2Layer> load_layer(Loader& loader, std::int64_t index) {
    const ModelConfig& config = loader.config();
    const std::string prefix = "h." + std::to_string(index) + ".";
    const std::int64_t width = config.width;
    const auto linear = [&](std::string_view name, std::int64_t out, std::int64_t in) {
        return loader.projection(prefix + std::string(name), prefix, {{name, out}}, in,
                                 Loader::Bias::yes);
    };
    Gpt2Layer layer;
    layer.attention_norm = TRY(loader.layer_norm(prefix + "ln_1"));
    layer.qkv = TRY(linear("attn.c_attn", 3 * width, width));
    layer.o = TRY(linear("attn.c_proj", width, width));
    layer.mlp_norm = TRY(loader.layer_norm(prefix + "ln_2"));
    layer.up = TRY(linear("mlp.c_fc", config.ffn, width));
    layer.down = TRY(linear("mlp.c_proj", width, config.ffn));
    float scale = config.scale_attn ? 1.0f / std::sqrt(static_cast<float>(config.head_dim)) : 1.0f;
    if (config.scale_attn_by_layer) {
        scale /= static_cast<float>(index + 1);
    }
    layer.attention = AttentionShape{.heads = config.heads,
                                     .kv_heads = config.kv_heads,
                                     .head_dim = config.head_dim,
                                     .scale = scale,
                                     .window = 0};
    return layer;
}

Result<std::unique_ptr<Model>> Gpt2Model::load(Loader& loader) {
    const ModelConfig& config = loader.config();
    auto model = std::make_unique<Gpt2Model>();
    model->activation_ = config.activation;
    model->position_table_ = TRY(loader.position_table("wpe.weight", config.positions));
    model->positions_ = Table{model->position_table_.get(), config.width};
    model->position_row_bytes_ =
        model->position_table_->bytes_per_call() / static_cast<std::uint64_t>(config.positions);
    for (std::int64_t i = 0; i < config.layers; ++i) {
        model->layers_.push_back(TRY(load_layer(loader, i)));
    }
    model->final_norm_ = TRY(loader.layer_norm("ln_f"));
    model->embeddings_ = TRY(loader.embeddings("wte.weight"));
    model->inputs_ = loader.take_inputs();
    return std::unique_ptr<Model>(std::move(model));
}

}  // namespace

Result<std::unique_ptr<Model>> load_gpt2(Loader& loader) {
    return Gpt2Model::load(loader);
}

}  // namespace bitsweep
