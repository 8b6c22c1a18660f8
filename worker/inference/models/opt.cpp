// OPT: ReLU, learned positions that begin at row 2, norms before each block or (350m) after it, and
// embeddings that may be narrower than the model.
// Source: transformers modeling_opt.
//
// Tensors, all under "decoder.": embed_tokens, embed_positions, project_in, project_out,
// layers.N.{self_attn.{q,k,v,out}_proj, self_attn_layer_norm, fc1, fc2, final_layer_norm},
// final_layer_norm; lm_head where it is not tied.
#include <cmath>
#include <optional>

#include "worker/inference/models/loader.h"
#include "worker/inference/models/model.h"

namespace bitsweep {
namespace {

struct OptLayer {
    Norm attention_norm;
    Projection qkv;
    Projection o;
    Norm mlp_norm;
    Projection up;
    Projection down;
    AttentionShape attention;
};

class OptModel : public Model {
 public:
    static Result<std::unique_ptr<Model>> load(Loader& loader);

    Status run(const Pass& pass, const Chunk& chunk) const override {
        const Activations& act = pass.act;
        const std::int64_t rows = chunk.rows();
        if (project_in_) {
            embeddings_.tokens.look_up(pass, chunk.ids, rows, act.e);
            TRY(project_in_->apply(pass, act.e, act.x, rows));
        } else {
            embeddings_.tokens.look_up(pass, chunk.ids, rows, act.x);
        }
        positions_.look_up_positions(pass, chunk, position_offset_, act.h);
        add_rows(pass, act.x, act.h, rows, positions_.width);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            TRY(run_layer(pass, chunk, layers_[i], static_cast<std::int64_t>(i)));
        }
        return {};
    }

    Status logits(const Pass& pass, const float* x, std::int64_t rows, float* out) const override {
        const Activations& act = pass.act;
        if (final_norm_) {
            final_norm_->apply(pass, x, act.e, rows);
            x = act.e;
        }
        if (project_out_) {
            // `x` may lie in h, and the projection must not write what it reads.
            float* to = x == act.e ? act.h : act.e;
            TRY(project_out_->apply(pass, x, to, rows));
            x = to;
        }
        return embeddings_.head.apply(pass, x, out, rows);
    }

    std::span<const LinearInput> linear_inputs() const override { return inputs_; }

    std::uint64_t bytes_per_token() const override {
        std::uint64_t bytes = embeddings_.head.bytes_per_call() + embeddings_.row_bytes +
                              position_row_bytes_ + (final_norm_ ? final_norm_->bytes() : 0);
        for (const auto* projection : {&project_in_, &project_out_}) {
            bytes += *projection ? (*projection)->bytes_per_call() : 0;
        }
        for (const OptLayer& layer : layers_) {
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
    Status run_layer(const Pass& pass, const Chunk& chunk, const OptLayer& layer,
                     std::int64_t index) const {
        const Activations& act = pass.act;
        const std::int64_t rows = chunk.rows();
        const std::int64_t width = layer.o.out_features;
        const bool before = placement_ == NormPlacement::pre;
        const float* input = act.x;
        if (before) {
            layer.attention_norm.apply(pass, act.x, act.h, rows);
            input = act.h;
        }
        TRY(layer.qkv.apply(pass, input, act.qkv, rows, act.attn));
        attend_rows(pass, layer.attention, index, chunk, act.qkv, act.attn);
        TRY(layer.o.apply(pass, act.attn, act.h, rows));
        add_rows(pass, act.x, act.h, rows, width);
        if (before) {
            layer.mlp_norm.apply(pass, act.x, act.h, rows);
        } else {
            layer.attention_norm.apply(pass, act.x, act.x, rows);
        }
        TRY(layer.up.apply(pass, input, act.mlp, rows));
        activate_rows(pass, activation_, act.mlp, rows, layer.up.out_features);
        TRY(layer.down.apply(pass, act.mlp, act.h, rows));
        add_rows(pass, act.x, act.h, rows, width);
        if (!before) {
            layer.mlp_norm.apply(pass, act.x, act.x, rows);
        }
        return {};
    }

    Activation activation_ = Activation::relu;
    NormPlacement placement_ = NormPlacement::pre;
    std::int64_t position_offset_ = 2;
    std::vector<OptLayer> layers_;
    std::optional<Norm> final_norm_;
    std::optional<Projection> project_in_;
    std::optional<Projection> project_out_;
    Embeddings embeddings_;
    std::unique_ptr<Linear> position_table_;
    Table positions_;
    std::uint64_t position_row_bytes_ = 0;
    std::vector<LinearInput> inputs_;
};

Result<OptLayer> load_layer(Loader& loader, std::int64_t index) {
    const ModelConfig& config = loader.config();
    const std::string prefix = "decoder.layers." + std::to_string(index) + ".";
    const std::string attn = prefix + "self_attn.";
    const std::int64_t width = config.width;
    const auto bias = config.linear_bias ? Loader::Bias::yes : Loader::Bias::no;
    OptLayer layer;
    layer.attention_norm = TRY(loader.layer_norm(prefix + "self_attn_layer_norm"));
    layer.qkv = TRY(loader.projection(attn + "qkv_proj", attn,
                                      {{"q_proj", width}, {"k_proj", width}, {"v_proj", width}},
                                      width, bias));
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

Result<std::unique_ptr<Model>> OptModel::load(Loader& loader) {
    const ModelConfig& config = loader.config();
    auto model = std::make_unique<OptModel>();
    model->activation_ = config.activation;
    model->placement_ = config.norm_placement;
    model->position_offset_ = config.position_offset;
    const std::int64_t positions = config.positions + config.position_offset;
    model->position_table_ =
        TRY(loader.position_table("decoder.embed_positions.weight", positions));
    model->positions_ = Table{model->position_table_.get(), config.width};
    model->position_row_bytes_ =
        model->position_table_->bytes_per_call() / static_cast<std::uint64_t>(positions);
    const bool projected = config.embed_width != config.width;
    if (projected) {
        model->project_in_ =
            TRY(loader.projection("decoder.project_in", "decoder.", {{"project_in", config.width}},
                                  config.embed_width, Loader::Bias::no));
    }
    for (std::int64_t i = 0; i < config.layers; ++i) {
        model->layers_.push_back(TRY(load_layer(loader, i)));
    }
    if (config.final_norm) {
        model->final_norm_ = TRY(loader.layer_norm("decoder.final_layer_norm"));
    }
    if (projected) {
        model->project_out_ = TRY(loader.projection("decoder.project_out", "decoder.",
                                                    {{"project_out", config.embed_width}},
                                                    config.width, Loader::Bias::no));
    }
    model->embeddings_ = TRY(loader.embeddings("decoder.embed_tokens.weight"));
    model->inputs_ = loader.take_inputs();
    return std::unique_ptr<Model>(std::move(model));
}

}  // namespace

Result<std::unique_ptr<Model>> load_opt(Loader& loader) {
    return OptModel::load(loader);
}

}  // namespace bitsweep
