#include "worker/inference/config.h"

#include <array>
#include <cmath>

#include "worker/inference/config_checks.h"
#include "worker/inference/json_file.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

constexpr std::uint64_t max_config_bytes = 4ull << 20;  // real ones have a few kilobytes
constexpr std::int64_t max_layers = 4096;
constexpr std::int64_t max_size = std::int64_t{1} << 24;  // any width, vocabulary or FFN so far
constexpr std::int64_t max_positions = std::int64_t{1} << 31;

// Typed fields of one JSON object. null counts as absent, as transformers writes it.
class Fields {
 public:
    Fields(const Json& object, std::string label) : object_(object), label_(std::move(label)) {}

    const Json* find(const char* key) const {
        const auto it = object_.find(key);
        return it == object_.end() || it->is_null() ? nullptr : &*it;
    }

    bool is_null(const char* key) const {
        const auto it = object_.find(key);
        return it != object_.end() && it->is_null();
    }

    Result<std::int64_t> integer(const char* key, std::int64_t low, std::int64_t high) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return missing(key, "an integer");
        }
        const bool is_small_enough =
            value->is_number_integer() && (!value->is_number_unsigned() ||
                                           value->get<std::uint64_t>() <= std::uint64_t(INT64_MAX));
        if (!is_small_enough || value->get<std::int64_t>() < low ||
            value->get<std::int64_t>() > high) {
            return wrong(key,
                         "an integer from " + std::to_string(low) + " to " + std::to_string(high));
        }
        return value->get<std::int64_t>();
    }
    Result<std::int64_t> integer_or(const char* key, std::int64_t fallback, std::int64_t low,
                                    std::int64_t high) const {
        return find(key) == nullptr ? Result<std::int64_t>(fallback) : integer(key, low, high);
    }

    // Finite and above zero: eps, theta and factors all are.
    Result<double> positive(const char* key) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return missing(key, "a number");
        }
        if (!value->is_number() || !std::isfinite(value->get<double>()) ||
            value->get<double>() <= 0) {
            return wrong(key, "a number above 0");
        }
        return value->get<double>();
    }
    Result<double> positive_or(const char* key, double fallback) const {
        return find(key) == nullptr ? Result<double>(fallback) : positive(key);
    }

    Result<bool> flag_or(const char* key, bool fallback) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return fallback;
        }
        if (!value->is_boolean()) {
            return wrong(key, "true or false");
        }
        return value->get<bool>();
    }

    Result<std::string> text(const char* key) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return missing(key, "a string");
        }
        if (!value->is_string()) {
            return wrong(key, "a string");
        }
        return value->get<std::string>();
    }
    Result<std::string> text_or(const char* key, const char* fallback) const {
        return find(key) == nullptr ? Result<std::string>(std::string(fallback)) : text(key);
    }

    Error missing(const char* key, const std::string& wanted) const {
        return make_error(ErrorCode::invalid_input,
                          label_ + ": " + show_name(key) + " is missing; wanted " + wanted);
    }
    Error wrong(const char* key, const std::string& wanted) const {
        const Json& value = object_.at(key);
        return make_error(
            ErrorCode::invalid_input,
            label_ + ": " + show_name(key) + " is " +
                value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60) +
                "; wanted " + wanted);
    }
    Error unsupported(const std::string& what, const std::string& instead) const {
        return make_error(ErrorCode::unsupported, label_ + ": " + what + "; " + instead);
    }
    const std::string& label() const { return label_; }

 private:
    const Json& object_;
    std::string label_;
};

Result<Activation> activation_of(const Fields& fields, const char* key, const char* fallback) {
    const std::string name = TRY(fields.text_or(key, fallback));
    if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
        return Activation::gelu_tanh;  // one formula under three names
    }
    if (name == "gelu") {
        return Activation::gelu_erf;
    }
    if (name == "relu") {
        return Activation::relu;
    }
    if (name == "silu" || name == "swish") {
        return Activation::silu;
    }
    return fields.unsupported(std::string("'") + key + "' is " + show_name(name),
                              "known are gelu, gelu_new, gelu_pytorch_tanh, relu, silu");
}

// An integer, or a list of which the first counts (Llama 3 lists several).
Result<std::int32_t> eos_of(const Fields& fields, std::int64_t vocabulary) {
    const Json* value = fields.find("eos_token_id");
    if (value != nullptr && value->is_array() && !value->empty()) {
        value = &value->front();
    }
    if (value == nullptr) {
        return std::int32_t{-1};
    }
    if (!value->is_number_unsigned() ||
        value->get<std::uint64_t>() >= static_cast<std::uint64_t>(vocabulary)) {
        return fields.wrong("eos_token_id",
                            "an id below vocab_size (" + std::to_string(vocabulary) + ")");
    }
    return static_cast<std::int32_t>(value->get<std::uint64_t>());
}

Result<Llama3RopeScaling> llama3_scaling(const Fields& rope) {
    Llama3RopeScaling scaling;
    scaling.factor = TRY(rope.positive("factor"));
    scaling.low_freq_factor = TRY(rope.positive("low_freq_factor"));
    scaling.high_freq_factor = TRY(rope.positive("high_freq_factor"));
    scaling.original_positions = TRY(rope.positive("original_max_position_embeddings"));
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
        return rope.wrong("high_freq_factor", "more than low_freq_factor");
    }
    return scaling;
}

// transformers 5 writes "rope_parameters" (with rope_theta inside), earlier ones "rope_scaling"
// beside "rope_theta"; the type is called "rope_type" or, before 4.43, "type".
Result<RopeConfig> rope_of(const Fields& fields) {
    RopeConfig rope;
    rope.theta = TRY(fields.positive_or("rope_theta", rope.theta));
    const char* key =
        fields.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
    const Json* object = fields.find(key);
    if (object == nullptr) {
        return rope;
    }
    if (!object->is_object()) {
        return fields.wrong(key, "an object");
    }
    const Fields inner(*object, fields.label() + ": " + key);
    rope.theta = TRY(inner.positive_or("rope_theta", rope.theta));
    if (TRY(inner.positive_or("partial_rotary_factor", 1)) != 1) {
        return inner.unsupported("'partial_rotary_factor' is not 1",
                                 "only whole heads can be rotated");
    }
    const std::string type =
        TRY(inner.find("rope_type") != nullptr ? inner.text("rope_type")
                                               : inner.text_or("type", "default"));
    if (type == "linear") {
        rope.linear_factor = TRY(inner.positive("factor"));
    } else if (type == "llama3") {
        rope.llama3 = TRY(llama3_scaling(inner));
    } else if (type != "default") {
        return inner.unsupported("rope type " + show_name(type),
                                 "known are default, linear, llama3");
    }
    return rope;
}

Status read_sizes(const Fields& fields, const char* layers, const char* width, const char* heads,
                  const char* positions, ModelConfig* config) {
    config->layers = TRY(fields.integer(layers, 1, max_layers));
    config->width = TRY(fields.integer(width, 1, max_size));
    config->heads = TRY(fields.integer(heads, 1, max_size));
    config->positions = TRY(fields.integer(positions, 1, max_positions));
    config->vocabulary = TRY(fields.integer("vocab_size", 1, max_size));
    config->kv_heads = config->heads;
    config->embed_width = config->width;
    config->eos_id = TRY(eos_of(fields, config->vocabulary));
    return {};
}

void set_biases(ModelConfig* config, bool on) {
    config->linear_bias = config->qkv_bias = config->o_bias = config->mlp_bias = on;
}

Status read_gpt2(const Fields& fields, ModelConfig* config) {
    TRY(read_sizes(fields, "n_layer", "n_embd", "n_head", "n_positions", config));
    config->head_dim = config->width / config->heads;
    config->ffn = TRY(fields.integer_or("n_inner", 4 * config->width, 1, max_size));
    config->norm_eps = TRY(fields.positive_or("layer_norm_epsilon", 1e-5));
    config->activation = TRY(activation_of(fields, "activation_function", "gelu_new"));
    config->tied_head = TRY(fields.flag_or("tie_word_embeddings", true));
    config->scale_attn = TRY(fields.flag_or("scale_attn_weights", true));
    config->scale_attn_by_layer = TRY(fields.flag_or("scale_attn_by_inverse_layer_idx", false));
    if (TRY(fields.flag_or("add_cross_attention", false))) {
        return fields.unsupported("'add_cross_attention' is true",
                                  "only decoders without an encoder can run");
    }
    set_biases(config, true);
    return {};
}

Status read_opt(const Fields& fields, ModelConfig* config) {
    TRY(read_sizes(fields, "num_hidden_layers", "hidden_size", "num_attention_heads",
                   "max_position_embeddings", config));
    config->head_dim = config->width / config->heads;
    config->ffn = TRY(fields.integer("ffn_dim", 1, max_size));
    config->embed_width = TRY(fields.integer_or("word_embed_proj_dim", config->width, 1, max_size));
    config->activation = TRY(activation_of(fields, "activation_function", "relu"));
    config->tied_head = TRY(fields.flag_or("tie_word_embeddings", true));
    config->norm_affine = TRY(fields.flag_or("layer_norm_elementwise_affine", true));
    const bool is_pre = TRY(fields.flag_or("do_layer_norm_before", true));
    const bool is_removed = TRY(fields.flag_or("_remove_final_layer_norm", false));
    config->norm_placement = is_pre ? NormPlacement::pre : NormPlacement::post;
    config->final_norm = is_pre && !is_removed;
    config->position_offset = 2;
    set_biases(config, TRY(fields.flag_or("enable_bias", true)));
    return {};
}

// Qwen2 with use_sliding_window: layers from max_window_layers on see the window. transformers 5
// may say the same as "layer_types"; a pattern that two numbers cannot express is refused.
Status read_qwen2_window(const Fields& fields, ModelConfig* config) {
    if (!TRY(fields.flag_or("use_sliding_window", false)) ||
        fields.find("sliding_window") == nullptr) {
        return {};
    }
    config->sliding_window = TRY(fields.integer("sliding_window", 1, max_positions));
    config->sliding_from_layer = TRY(fields.integer_or("max_window_layers", 28, 0, max_size));
    const Json* types = fields.find("layer_types");
    if (types == nullptr) {
        return {};
    }
    if (!types->is_array() || types->size() != static_cast<std::size_t>(config->layers)) {
        return fields.wrong("layer_types", "a list of num_hidden_layers strings");
    }
    std::int64_t first = 0;
    while (first < config->layers && (*types)[first] == "full_attention") {
        ++first;
    }
    for (std::int64_t layer = first; layer < config->layers; ++layer) {
        if ((*types)[layer] != "sliding_attention") {
            return fields.unsupported(
                "'layer_types' mixes windows and full attention",
                "only full attention first and sliding windows after it can run");
        }
    }
    config->sliding_from_layer = first;
    return {};
}

Status read_llama_like(const Fields& fields, ModelConfig* config) {
    TRY(read_sizes(fields, "num_hidden_layers", "hidden_size", "num_attention_heads",
                   "max_position_embeddings", config));
    config->ffn = TRY(fields.integer("intermediate_size", 1, max_size));
    const std::int64_t default_kv_heads =
        config->family == ModelFamily::llama ? config->heads : std::int64_t{0};
    config->kv_heads = TRY(fields.integer_or("num_key_value_heads", default_kv_heads, 1, max_size));
    if (config->kv_heads == 0) {
        return fields.missing("num_key_value_heads", "an integer");
    }
    config->head_dim =
        TRY(fields.integer_or("head_dim", config->width / config->heads, 1, max_size));
    config->norm_eps = TRY(fields.positive_or("rms_norm_eps", 1e-6));
    config->activation = TRY(activation_of(fields, "hidden_act", "silu"));
    if (config->activation != Activation::silu) {
        return fields.unsupported("'hidden_act' is " + show_name(TRY(fields.text("hidden_act"))),
                                  "this family runs with silu");
    }
    config->tied_head = TRY(fields.flag_or("tie_word_embeddings", false));
    config->rope = TRY(rope_of(fields));
    if (config->family == ModelFamily::llama) {
        config->qkv_bias = config->o_bias = TRY(fields.flag_or("attention_bias", false));
        config->mlp_bias = TRY(fields.flag_or("mlp_bias", false));
        config->linear_bias = config->qkv_bias && config->mlp_bias;
    } else if (config->family == ModelFamily::qwen2) {
        config->qkv_bias = true;
        TRY(read_qwen2_window(fields, config));
    } else if (!fields.is_null("sliding_window")) {
        // Mistral: an absent key means 4096, null means none (transformers MistralConfig).
        config->sliding_window = TRY(fields.integer_or("sliding_window", 4096, 1, max_positions));
    }
    return {};
}

struct Architecture {
    const char* model_type;
    ModelFamily family;
    Status (*read)(const Fields&, ModelConfig*);
};

// A new family is one row here, one in weight_names.cpp and one folder under models/.
constexpr std::array architectures = {
    Architecture{"gpt2", ModelFamily::gpt2, read_gpt2},
    Architecture{"opt", ModelFamily::opt, read_opt},
    Architecture{"llama", ModelFamily::llama, read_llama_like},
    Architecture{"qwen2", ModelFamily::qwen2, read_llama_like},
    Architecture{"mistral", ModelFamily::mistral, read_llama_like},
};

Status refuse_quantised_checkpoint(const Fields& fields) {
    const Json* quantisation = fields.find("quantization_config");
    if (quantisation == nullptr) {
        return {};
    }
    std::string method = "unnamed";
    if (quantisation->is_object() && quantisation->contains("quant_method") &&
        (*quantisation)["quant_method"].is_string()) {
        method = (*quantisation)["quant_method"].get<std::string>();
    }
    return fields.unsupported(
        "the checkpoint is already quantised (quantization_config: " + show_name(method) + ")",
        "bitsweep quantises by itself: use the F32, F16 or BF16 checkpoint");
}

}  // namespace

Status check_config(const ModelConfig& config, const std::string& label) {
    const auto fail = [&](const std::string& what) {
        return make_error(ErrorCode::invalid_input, label + ": " + what);
    };
    const bool rotates = config.family != ModelFamily::gpt2 && config.family != ModelFamily::opt;
    if (!rotates && config.heads * config.head_dim != config.width) {
        return fail("hidden size " + std::to_string(config.width) + " is not a multiple of " +
                    std::to_string(config.heads) + " heads");
    }
    if (config.head_dim < 1 || config.heads * config.head_dim > max_size) {
        return fail("head size " + std::to_string(config.head_dim) + " with " +
                    std::to_string(config.heads) + " heads cannot be");
    }
    if (config.kv_heads < 1 || config.heads % config.kv_heads != 0) {
        return fail(std::to_string(config.heads) + " attention heads are not a multiple of " +
                    std::to_string(config.kv_heads) + " key-value heads");
    }
    if (rotates && config.head_dim % 2 != 0) {
        return fail("head size " + std::to_string(config.head_dim) +
                    " is odd; rotary positions need pairs");
    }
    return {};
}

Result<ModelConfig> config_from_json(const std::filesystem::path& config_json) {
    const std::string label = config_json.string();
    const Json root = TRY(read_json_file(config_json, max_config_bytes));
    if (!root.is_object()) {
        return make_error(ErrorCode::corrupt, label + ": not a JSON object");
    }
    const Fields fields(root, label);
    const std::string type = TRY(fields.text("model_type"));
    std::string known;
    for (const Architecture& architecture : architectures) {
        if (type == architecture.model_type) {
            TRY(refuse_quantised_checkpoint(fields));
            ModelConfig config;
            config.family = architecture.family;
            config.name = config_json.parent_path().filename().string();
            TRY(architecture.read(fields, &config));
            TRY(check_config(config, label));
            return config;
        }
        known += (known.empty() ? "" : ", ") + std::string(architecture.model_type);
    }
    return fields.unsupported("unknown architecture " + show_name(type), "known are " + known);
}

ModelConfig config_from_shape(const ModelShape& shape) {
    ModelConfig config;
    config.family = shape.family;
    config.name = shape.name;
    config.layers = shape.layers;
    config.width = shape.width;
    config.heads = shape.heads;
    config.kv_heads = shape.kv_heads;
    config.head_dim = shape.head_dim;
    config.ffn = shape.ffn;
    config.vocabulary = shape.vocabulary;
    config.positions = shape.positions;
    config.embed_width = shape.embed_width;
    config.tied_head = shape.tied;
    if (shape.rope_theta > 0) {
        config.rope.theta = shape.rope_theta;
    }
    const bool is_gpt2 = shape.family == ModelFamily::gpt2;
    const bool is_opt = shape.family == ModelFamily::opt;
    set_biases(&config, is_gpt2 || is_opt);
    config.qkv_bias = config.qkv_bias || shape.family == ModelFamily::qwen2;
    if (is_gpt2) {
        config.activation = Activation::gelu_tanh;
    }
    if (is_opt) {
        config.activation = Activation::relu;
        config.position_offset = 2;
        // OPT-350m, the one with projected embeddings, is also the one with post-norm.
        if (shape.embed_width != shape.width) {
            config.norm_placement = NormPlacement::post;
            config.final_norm = false;
        }
    }
    return config;
}

}  // namespace bitsweep
