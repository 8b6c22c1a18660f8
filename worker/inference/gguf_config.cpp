#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "worker/inference/config_checks.h"
#include "worker/inference/gguf_model.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

constexpr std::int64_t max_layers = 4096;
constexpr std::int64_t max_size = std::int64_t{1} << 24;
constexpr std::int64_t max_positions = std::int64_t{1} << 31;

// Metadata of one architecture: "llama" + "." + key.
class Keys {
 public:
    Keys(const GgufFile& file, std::string architecture)
        : file_(file), prefix_(std::move(architecture) + ".") {}

    bool has(const char* key) const { return file_.has(prefix_ + key); }

    Result<std::int64_t> integer(const char* key, std::int64_t high) const {
        const std::int64_t value = TRY(file_.integer(prefix_ + key));
        if (value < 1 || value > high) {
            return make_error(ErrorCode::invalid_input,
                              file_.label() + ": metadata " + show_name(prefix_ + key) + " is " +
                                  std::to_string(value) + "; wanted 1 to " + std::to_string(high));
        }
        return value;
    }
    Result<std::int64_t> integer_or(const char* key, std::int64_t fallback,
                                    std::int64_t high) const {
        return has(key) ? integer(key, high) : Result<std::int64_t>(fallback);
    }

    Result<double> positive(const char* key) const {
        const double value = TRY(file_.number(prefix_ + key));
        if (!std::isfinite(value) || value <= 0) {
            return make_error(ErrorCode::invalid_input, file_.label() + ": metadata " +
                                                            show_name(prefix_ + key) +
                                                            " is not a number above 0");
        }
        return value;
    }
    Result<double> positive_or(const char* key, double fallback) const {
        return has(key) ? positive(key) : Result<double>(fallback);
    }

    Result<std::string_view> text_or(const char* key, const char* fallback) const {
        return has(key) ? file_.text(prefix_ + key) : Result<std::string_view>(fallback);
    }

    Error unsupported(const std::string& what) const {
        return make_error(ErrorCode::unsupported, file_.label() + ": " + what);
    }

 private:
    const GgufFile& file_;
    std::string prefix_;
};

bool has_tensor(const GgufFile& file, std::string_view name) {
    return file.tensors.contains(name);
}

Status read_sizes(const GgufFile& file, const Keys& keys, ModelConfig* config) {
    config->layers = TRY(keys.integer("block_count", max_layers));
    config->positions = TRY(keys.integer("context_length", max_positions));
    config->width = TRY(keys.integer("embedding_length", max_size));
    config->ffn = TRY(keys.integer("feed_forward_length", max_size));
    config->heads = TRY(keys.integer("attention.head_count", max_size));
    config->kv_heads = TRY(keys.integer_or("attention.head_count_kv", config->heads, max_size));
    config->head_dim =
        TRY(keys.integer_or("attention.key_length", config->width / config->heads, max_size));
    config->embed_width = config->width;
    const auto embedding = file.tensors.find("token_embd.weight");
    if (embedding == file.tensors.end() || embedding->second.shape.size() != 2) {
        return make_error(ErrorCode::not_found,
                          file.label() +
                              ": tensor 'token_embd.weight' [vocabulary, width] is "
                              "missing");
    }
    config->vocabulary = embedding->second.shape[0];
    if (config->vocabulary > max_size) {
        return make_error(ErrorCode::invalid_input, file.label() + ": 'token_embd.weight' has " +
                                                        std::to_string(config->vocabulary) +
                                                        " rows; at most " +
                                                        std::to_string(max_size) + " are read");
    }
    config->tied_head = !has_tensor(file, "output.weight");
    if (file.has("tokenizer.ggml.eos_token_id")) {
        const std::int64_t eos = TRY(file.integer("tokenizer.ggml.eos_token_id"));
        if (eos < 0 || eos >= config->vocabulary) {
            return make_error(ErrorCode::invalid_input,
                              file.label() + ": metadata 'tokenizer.ggml.eos_token_id' is " +
                                  std::to_string(eos) + "; wanted an id below " +
                                  std::to_string(config->vocabulary));
        }
        config->eos_id = static_cast<std::int32_t>(eos);
    }
    return {};
}

double llama3_divisor(const Llama3RopeScaling& scaling, double theta, std::int64_t head_dim,
                      std::int64_t pair) {
    const double exponent = 2.0 * static_cast<double>(pair) / static_cast<double>(head_dim);
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, exponent);
    if (wavelength < scaling.original_positions / scaling.high_freq_factor) {
        return 1;
    }
    if (wavelength > scaling.original_positions / scaling.low_freq_factor) {
        return scaling.factor;
    }
    const double smooth = (scaling.original_positions / wavelength - scaling.low_freq_factor) /
                          (scaling.high_freq_factor - scaling.low_freq_factor);
    return 1 / ((1 - smooth) / scaling.factor + smooth);
}

// GGUF stores llama3 scaling as the divisors of the frequencies (rope_freqs.weight), not as its
// four numbers. All published Llama 3 models use 1, 4 and 8192 with a factor of their own, which is
// the largest divisor; a table that these do not explain is refused rather than guessed.
Status read_rope_table(const GgufFile& file, const Keys& keys, ModelConfig* config) {
    const auto it = file.tensors.find("rope_freqs.weight");
    if (it == file.tensors.end()) {
        return {};
    }
    const GgufTensor& table = it->second;
    const std::int64_t pairs = config->head_dim / 2;
    if (table.type != GgufType::f32 || table.shape != std::vector<std::int64_t>{pairs}) {
        return keys.unsupported("tensor 'rope_freqs.weight' is not F32 [" + std::to_string(pairs) +
                                "]");
    }
    std::vector<float> divisors(static_cast<std::size_t>(pairs));
    find_gguf_type(0)->dequantize(table.data, divisors.data(), divisors.size());
    Llama3RopeScaling scaling;
    scaling.factor = *std::max_element(divisors.begin(), divisors.end());
    if (scaling.factor == 1) {
        return {};
    }
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
        const double wanted = llama3_divisor(scaling, config->rope.theta, config->head_dim, pair);
        const double stored = divisors[static_cast<std::size_t>(pair)];
        if (!(std::abs(stored - wanted) <= 1e-4 * wanted)) {
            return keys.unsupported(
                "tensor 'rope_freqs.weight' is not the llama3 scaling of "
                "8192 positions with factors 1 and 4");
        }
    }
    config->rope.llama3 = scaling;
    return {};
}

Status read_rope(const GgufFile& file, const Keys& keys, ModelConfig* config) {
    config->rope.theta = TRY(keys.positive_or("rope.freq_base", 10000));
    if (TRY(keys.integer_or("rope.dimension_count", config->head_dim, max_size)) !=
        config->head_dim) {
        return keys.unsupported("'rope.dimension_count' is not the head size " +
                                std::to_string(config->head_dim) +
                                "; only whole heads can be rotated");
    }
    const std::string_view type = TRY(keys.text_or("rope.scaling.type", "none"));
    if (type == "linear") {
        config->rope.linear_factor = TRY(keys.positive("rope.scaling.factor"));
    } else if (type != "none") {
        return keys.unsupported("rope scaling " + show_name(type) +
                                "; none, linear and the llama3 table can be read");
    }
    return read_rope_table(file, keys, config);
}

Status read_llama_like(const GgufFile& file, const Keys& keys, ModelConfig* config) {
    TRY(read_sizes(file, keys, config));
    if (TRY(keys.integer_or("attention.value_length", config->head_dim, max_size)) !=
        config->head_dim) {
        return keys.unsupported("keys and values of different sizes");
    }
    if (keys.has("expert_count")) {
        return keys.unsupported("expert layers (mixture of experts) are not supported");
    }
    config->norm_eps = TRY(keys.positive("attention.layer_norm_rms_epsilon"));
    TRY(read_rope(file, keys, config));
    if (config->family == ModelFamily::qwen2) {
        config->qkv_bias = true;
        return {};
    }
    config->qkv_bias = has_tensor(file, "blk.0.attn_q.bias");
    config->o_bias = has_tensor(file, "blk.0.attn_output.bias");
    config->mlp_bias = has_tensor(file, "blk.0.ffn_up.bias");
    config->linear_bias = config->qkv_bias && config->o_bias && config->mlp_bias;
    if (keys.has("attention.sliding_window")) {
        config->sliding_window = TRY(keys.integer("attention.sliding_window", max_positions));
        config->family = ModelFamily::mistral;
    }
    return {};
}

Status read_gpt2(const GgufFile& file, const Keys& keys, ModelConfig* config) {
    TRY(read_sizes(file, keys, config));
    config->norm_eps = TRY(keys.positive("attention.layer_norm_epsilon"));
    config->activation = Activation::gelu_tanh;
    config->linear_bias = config->qkv_bias = config->o_bias = config->mlp_bias = true;
    return {};
}

struct Architecture {
    const char* name;
    ModelFamily family;
    Status (*read)(const GgufFile&, const Keys&, ModelConfig*);
};
constexpr std::array architectures = {
    Architecture{"llama", ModelFamily::llama, read_llama_like},
    Architecture{"qwen2", ModelFamily::qwen2, read_llama_like},
    Architecture{"gpt2", ModelFamily::gpt2, read_gpt2},
};

}  // namespace

Result<ModelConfig> config_from_gguf(const GgufFile& file) {
    const std::string name(TRY(file.text("general.architecture")));
    const Keys keys(file, name);
    if (file.has("split.count") && TRY(file.integer("split.count")) > 1) {
        return keys.unsupported("is one part of a split GGUF; merge the parts into one file");
    }
    std::string known;
    for (const Architecture& architecture : architectures) {
        if (name == architecture.name) {
            ModelConfig config;
            config.family = architecture.family;
            config.name = file.file->path().stem().string();
            TRY(architecture.read(file, keys, &config));
            TRY(check_config(config, file.label()));
            return config;
        }
        known += (known.empty() ? "" : ", ") + std::string(architecture.name);
    }
    return keys.unsupported("unknown architecture " + show_name(name) + "; known in GGUF are " +
                            known);
}

}  // namespace bitsweep
