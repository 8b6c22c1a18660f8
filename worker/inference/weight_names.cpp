#include "worker/inference/weight_names.h"

#include "worker/inference/weights.h"

namespace bitsweep {
namespace {

using Shape = std::vector<std::int64_t>;

// Collects tensors; knows how linear layers and norms are written.
class List {
 public:
    void add(std::string name, Shape shape) {
        tensors_.push_back({std::move(name), std::move(shape)});
    }
    void linear(const std::string& name, std::int64_t out, std::int64_t in, bool has_bias) {
        add(name + ".weight", {out, in});
        if (has_bias) {
            add(name + ".bias", {out});
        }
    }
    void layer_norm(const std::string& name, std::int64_t width, bool has_weights) {
        if (has_weights) {
            add(name + ".weight", {width});
            add(name + ".bias", {width});
        }
    }
    std::vector<TensorSpec> take() { return std::move(tensors_); }

 private:
    std::vector<TensorSpec> tensors_;
};

void list_gpt2(const ModelConfig& config, List* list) {
    const std::int64_t d = config.width;
    list->add("wte.weight", {config.vocabulary, d});
    list->add("wpe.weight", {config.positions, d});
    for (std::int64_t i = 0; i < config.layers; ++i) {
        const std::string layer = "h." + std::to_string(i) + ".";
        list->layer_norm(layer + "ln_1", d, true);
        list->linear(layer + "attn.c_attn", 3 * d, d, true);
        list->linear(layer + "attn.c_proj", d, d, true);
        list->layer_norm(layer + "ln_2", d, true);
        list->linear(layer + "mlp.c_fc", config.ffn, d, true);
        list->linear(layer + "mlp.c_proj", d, config.ffn, true);
    }
    list->layer_norm("ln_f", d, true);
}

void list_opt(const ModelConfig& config, List* list) {
    const std::int64_t d = config.width;
    const bool bias = config.linear_bias;
    const bool affine = config.norm_affine;
    list->add("decoder.embed_tokens.weight", {config.vocabulary, config.embed_width});
    list->add("decoder.embed_positions.weight", {config.positions + config.position_offset, d});
    if (config.embed_width != d) {
        list->linear("decoder.project_in", d, config.embed_width, false);
        list->linear("decoder.project_out", config.embed_width, d, false);
    }
    for (std::int64_t i = 0; i < config.layers; ++i) {
        const std::string layer = "decoder.layers." + std::to_string(i) + ".";
        for (const char* projection : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
            list->linear(layer + "self_attn." + projection, d, d, bias);
        }
        list->layer_norm(layer + "self_attn_layer_norm", d, affine);
        list->linear(layer + "fc1", config.ffn, d, bias);
        list->linear(layer + "fc2", d, config.ffn, bias);
        list->layer_norm(layer + "final_layer_norm", d, affine);
    }
    if (config.final_norm) {
        list->layer_norm("decoder.final_layer_norm", d, affine);
    }
}

void list_llama(const ModelConfig& config, List* list) {
    const std::int64_t d = config.width;
    const std::int64_t q = config.heads * config.head_dim;
    const std::int64_t kv = config.kv_heads * config.head_dim;
    list->add("model.embed_tokens.weight", {config.vocabulary, d});
    for (std::int64_t i = 0; i < config.layers; ++i) {
        const std::string layer = "model.layers." + std::to_string(i) + ".";
        list->add(layer + "input_layernorm.weight", {d});
        list->linear(layer + "self_attn.q_proj", q, d, config.qkv_bias);
        list->linear(layer + "self_attn.k_proj", kv, d, config.qkv_bias);
        list->linear(layer + "self_attn.v_proj", kv, d, config.qkv_bias);
        list->linear(layer + "self_attn.o_proj", d, q, config.o_bias);
        list->add(layer + "post_attention_layernorm.weight", {d});
        list->linear(layer + "mlp.gate_proj", config.ffn, d, config.mlp_bias);
        list->linear(layer + "mlp.up_proj", config.ffn, d, config.mlp_bias);
        list->linear(layer + "mlp.down_proj", d, config.ffn, config.mlp_bias);
    }
    list->add("model.norm.weight", {d});
}

constexpr std::string_view head_name = "lm_head.weight";

bool strip(std::string_view prefix, std::string_view* name) {
    if (!name->starts_with(prefix)) {
        return false;
    }
    name->remove_prefix(prefix.size());
    return true;
}

}  // namespace

std::vector<TensorSpec> required_tensors(const ModelConfig& config) {
    List list;
    switch (config.family) {
        case ModelFamily::gpt2:
            list_gpt2(config, &list);
            break;
        case ModelFamily::opt:
            list_opt(config, &list);
            break;
        case ModelFamily::llama:
        case ModelFamily::qwen2:
        case ModelFamily::mistral:
            list_llama(config, &list);
            break;
    }
    if (!config.tied_head) {
        list.add(std::string(head_name), {config.vocabulary, config.embed_width});
    }
    return list.take();
}

std::string canonical_name(ModelFamily family, std::string_view file_name) {
    std::string_view name = file_name;
    if (name == head_name) {
        return std::string(name);
    }
    switch (family) {
        case ModelFamily::gpt2:
            strip("transformer.", &name);
            return std::string(name);
        case ModelFamily::opt:
            strip("model.", &name);
            strip("decoder.", &name);
            return "decoder." + std::string(name);
        case ModelFamily::llama:
        case ModelFamily::qwen2:
        case ModelFamily::mistral:
            strip("model.", &name);
            return "model." + std::string(name);
    }
    return std::string(name);
}

bool is_conv1d_weight(ModelFamily family, std::string_view canonical) {
    return family == ModelFamily::gpt2 && canonical.starts_with("h.") &&
           (canonical.ends_with(".attn.c_attn.weight") ||
            canonical.ends_with(".attn.c_proj.weight") || canonical.ends_with(".mlp.c_fc.weight") ||
            canonical.ends_with(".mlp.c_proj.weight"));
}

bool is_ignored_tensor(const ModelConfig& config, std::string_view canonical) {
    if (canonical == head_name) {
        return config.tied_head;
    }
    if (config.family == ModelFamily::gpt2) {
        return canonical.ends_with(".attn.bias") || canonical.ends_with(".attn.masked_bias");
    }
    return canonical.ends_with(".rotary_emb.inv_freq");
}

bool is_layer_tensor(ModelFamily family, std::string_view canonical) {
    switch (family) {
        case ModelFamily::gpt2:
            return canonical.starts_with("h.");
        case ModelFamily::opt:
            return canonical.starts_with("decoder.layers.");
        case ModelFamily::llama:
        case ModelFamily::qwen2:
        case ModelFamily::mistral:
            return canonical.starts_with("model.layers.");
    }
    return false;
}

std::string grid_name(std::string_view weight) {
    return std::string(weight) + ".grid";
}

std::string input_absmax_name(std::string_view weight) {
    return std::string(weight) + ".input_absmax";
}

}  // namespace bitsweep
