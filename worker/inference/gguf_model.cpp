#include "worker/inference/gguf_model.h"

#include <array>
#include <cstring>
#include <map>
#include <set>

#include "worker/inference/tensor_view.h"
#include "worker/inference/untrusted.h"
#include "worker/inference/weight_names.h"

namespace bitsweep {
namespace {

struct NamePair {
    std::string_view canonical;  // within a layer, or whole
    std::string_view gguf;
};

// gguf/tensor_mapping.py, the rows of the three architectures.
constexpr std::array llama_layer_names = {
    NamePair{"input_layernorm", "attn_norm"}, NamePair{"post_attention_layernorm", "ffn_norm"},
    NamePair{"self_attn.q_proj", "attn_q"},   NamePair{"self_attn.k_proj", "attn_k"},
    NamePair{"self_attn.v_proj", "attn_v"},   NamePair{"self_attn.o_proj", "attn_output"},
    NamePair{"mlp.gate_proj", "ffn_gate"},    NamePair{"mlp.up_proj", "ffn_up"},
    NamePair{"mlp.down_proj", "ffn_down"},
};
constexpr std::array gpt2_layer_names = {
    NamePair{"ln_1", "attn_norm"},       NamePair{"ln_2", "ffn_norm"},
    NamePair{"attn.c_attn", "attn_qkv"}, NamePair{"attn.c_proj", "attn_output"},
    NamePair{"mlp.c_fc", "ffn_up"},      NamePair{"mlp.c_proj", "ffn_down"},
};
constexpr std::array whole_names = {
    NamePair{"model.embed_tokens", "token_embd"},
    NamePair{"model.norm", "output_norm"},
    NamePair{"lm_head", "output"},
    NamePair{"wte", "token_embd"},
    NamePair{"wpe", "position_embd"},
    NamePair{"ln_f", "output_norm"},
};

std::string_view look_up(std::span<const NamePair> names, std::string_view canonical) {
    for (const NamePair& pair : names) {
        if (pair.canonical == canonical) {
            return pair.gguf;
        }
    }
    return {};
}

// "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight".
std::string gguf_name(const ModelConfig& config, std::string_view canonical) {
    const bool is_gpt2 = config.family == ModelFamily::gpt2;
    const std::string_view layers = is_gpt2 ? "h." : "model.layers.";
    const std::size_t dot = canonical.rfind('.');
    const std::string suffix(canonical.substr(dot));  // .weight or .bias
    std::string_view stem = canonical.substr(0, dot);
    if (!stem.starts_with(layers)) {
        return std::string(look_up(whole_names, stem)) + suffix;
    }
    stem.remove_prefix(layers.size());
    const std::size_t end = stem.find('.');
    const std::string number(stem.substr(0, end));
    const std::string_view part = stem.substr(end + 1);
    return "blk." + number + "." +
           std::string(is_gpt2 ? look_up(gpt2_layer_names, part)
                               : look_up(llama_layer_names, part)) +
           suffix;
}

// Llama files store the rows of q and k so that the two halves of each rotary pair are neighbours:
// stored row head*d + 2*j + half is Hugging Face's row head*d + half*d/2 + j.
std::int64_t stored_row(std::int64_t row, std::int64_t head_dim) {
    const std::int64_t within = row % head_dim;
    const std::int64_t half = within / (head_dim / 2);
    const std::int64_t j = within % (head_dim / 2);
    return row - within + 2 * j + half;
}

bool is_interleaved(const ModelConfig& config, std::string_view canonical) {
    return (config.family == ModelFamily::llama || config.family == ModelFamily::mistral) &&
           (canonical.find(".self_attn.q_proj.") != std::string_view::npos ||
            canonical.find(".self_attn.k_proj.") != std::string_view::npos);
}

class GgufSource final : public WeightSource {
 public:
    explicit GgufSource(GgufFile file) : file_(std::move(file)) {}

    // Takes the tensors of `config`, checked.
    Status bind(const ModelConfig& config) {
        std::set<std::string_view> used;
        for (const TensorSpec& spec : required_tensors(config)) {
            const std::string stored_name = gguf_name(config, spec.name);
            const auto it = file_.tensors.find(stored_name);
            if (it == file_.tensors.end()) {
                std::vector<std::string> known;
                for (const auto& [name, tensor] : file_.tensors) {
                    known.push_back(name);
                }
                return no_such_tensor(file_.label(), stored_name, known);
            }
            if (it->second.shape != spec.shape) {
                return shape_disagrees(file_.label(), stored_name, it->second.shape, spec.shape,
                                       "its metadata");
            }
            used.insert(it->first);
            const std::int64_t head_dim = is_interleaved(config, spec.name) ? config.head_dim : 0;
            tensors_.emplace(spec.name, Bound{&it->second, head_dim});
        }
        for (const auto& [name, tensor] : file_.tensors) {
            if (name.starts_with("blk.") && !used.contains(name) &&
                !name.ends_with(".attn_rot_embd.weight")) {
                return make_error(ErrorCode::unsupported,
                                  file_.label() + ": tensor " + show_name(name) +
                                      " has no place in the model that the metadata describes (" +
                                      std::to_string(config.layers) + " layers)");
            }
        }
        return {};
    }

    bool contains(std::string_view name) const override { return tensors_.contains(name); }

    Result<std::vector<std::int64_t>> shape(std::string_view name) const override {
        const auto it = tensors_.find(name);
        if (it == tensors_.end()) {
            return missing(name);
        }
        return it->second.tensor->shape;
    }

    Status read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                     float* dst) const override {
        const auto it = tensors_.find(name);
        if (it == tensors_.end()) {
            return missing(name);
        }
        const GgufTensor& tensor = *it->second.tensor;
        const std::int64_t head_dim = it->second.interleaved_head_dim;
        const RowLayout layout = row_layout(tensor.shape);
        TRY(check_rows(name, layout, begin, end));
        if (begin == end) {
            return {};
        }
        const GgufTypeRow& type = *find_gguf_type(static_cast<std::uint32_t>(tensor.type));
        const auto row_blocks = static_cast<std::size_t>(layout.columns) / type.block;
        const auto row = [&](std::int64_t index) {
            return tensor.data + static_cast<std::size_t>(index) * row_blocks * type.block_bytes;
        };
        const auto count = static_cast<std::size_t>(end - begin);
        if (head_dim == 0) {
            type.dequantize(row(begin), dst, count * row_blocks);
        } else if (tensor.shape.size() == 1) {
            read_interleaved_bias(type, tensor, head_dim, dst);
        } else {
            for (std::int64_t i = begin; i < end; ++i) {
                type.dequantize(row(stored_row(i, head_dim)), dst + (i - begin) * layout.columns,
                                row_blocks);
            }
        }
        return {};
    }

    std::string stored_type(std::string_view name) const override {
        const auto it = tensors_.find(name);
        return it == tensors_.end() ? ""
                                    : std::string(gguf_type_name(
                                          static_cast<std::uint32_t>(it->second.tensor->type)));
    }

 private:
    struct Bound {
        const GgufTensor* tensor;
        std::int64_t interleaved_head_dim;  // 0: rows are in Hugging Face's order
    };

    // A bias is one row: its elements follow the rows of the weight.
    static void read_interleaved_bias(const GgufTypeRow& type, const GgufTensor& tensor,
                                      std::int64_t head_dim, float* dst) {
        const std::int64_t width = tensor.shape[0];
        std::vector<float> stored(static_cast<std::size_t>(width));
        type.dequantize(tensor.data, stored.data(), stored.size() / type.block);
        for (std::int64_t i = 0; i < width; ++i) {
            dst[i] = stored[static_cast<std::size_t>(stored_row(i, head_dim))];
        }
    }

    Error missing(std::string_view name) const {
        std::vector<std::string> known;
        for (const auto& [bound, tensor] : tensors_) {
            known.push_back(bound);
        }
        return no_such_tensor(file_.label(), name, known);
    }

    GgufFile file_;
    std::map<std::string, Bound, std::less<>> tensors_;
};

}  // namespace

Result<std::unique_ptr<WeightSource>> open_gguf_weights(GgufFile file, const ModelConfig& config) {
    auto source = std::make_unique<GgufSource>(std::move(file));
    TRY(source->bind(config));
    return std::unique_ptr<WeightSource>(std::move(source));
}

}  // namespace bitsweep
