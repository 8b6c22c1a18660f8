#include "worker/inference/gguf_tokenizer.h"

#include <array>

#include "worker/inference/bpe.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

struct PreRow {
    std::string_view name;
    PretokenizerOptions options;
    bool ignore_merges;
    bool nfc;
};

constexpr PretokenizerOptions gpt2_cut{SplitPattern::gpt2, false, false, false};
constexpr PretokenizerOptions llama3_cut{SplitPattern::llama3, false, false, false};
constexpr PretokenizerOptions qwen2_cut{SplitPattern::qwen2, false, false, false};
constexpr PretokenizerOptions digits_cut{SplitPattern::gpt2, true, true, false};

// GGUF names a pre-tokenizer instead of describing it. The rows give what the model's own
// tokenizer.json says; "default" is what converters wrote for GPT-2's cut before the key existed.
constexpr std::array pre_tokenizers = {
    PreRow{"gpt-2", gpt2_cut, false, false},      PreRow{"default", gpt2_cut, false, false},
    PreRow{"llama-bpe", llama3_cut, true, false}, PreRow{"llama3", llama3_cut, true, false},
    PreRow{"llama-v3", llama3_cut, true, false},  PreRow{"qwen2", qwen2_cut, false, true},
    PreRow{"smollm", digits_cut, false, false},
};

// gguf.TokenType
constexpr std::int64_t type_control = 3;
constexpr std::int64_t type_user_defined = 4;

Result<const std::vector<std::string_view>*> strings(const GgufFile& file, const char* key) {
    const auto it = file.metadata.find(key);
    if (it == file.metadata.end()) {
        return make_error(ErrorCode::not_found,
                          file.label() + ": metadata " + show_name(key) + " is missing");
    }
    const auto* list = std::get_if<std::vector<std::string_view>>(&it->second);
    if (list == nullptr) {
        return make_error(ErrorCode::corrupt, file.label() + ": metadata " + show_name(key) +
                                                  " is not a list of strings");
    }
    return list;
}

Status read_tokens(const GgufFile& file, BpeDescription* out) {
    const auto* tokens = TRY(strings(file, "tokenizer.ggml.tokens"));
    const std::vector<std::int64_t>* types = nullptr;
    const auto it = file.metadata.find("tokenizer.ggml.token_type");
    if (it != file.metadata.end()) {
        types = std::get_if<std::vector<std::int64_t>>(&it->second);
        if (types == nullptr || types->size() != tokens->size()) {
            return make_error(ErrorCode::corrupt,
                              file.label() +
                                  ": metadata 'tokenizer.ggml.token_type' is not one "
                                  "number for each of the " +
                                  std::to_string(tokens->size()) + " tokens");
        }
    }
    for (std::size_t i = 0; i < tokens->size(); ++i) {
        const auto id = static_cast<std::int64_t>(i);
        const std::int64_t type = types == nullptr ? 0 : (*types)[i];
        if (type == type_control || type == type_user_defined) {
            AddedToken added;
            added.content = (*tokens)[i];
            added.id = id;
            out->added.push_back(std::move(added));
        }
        out->vocabulary.emplace_back((*tokens)[i], id);
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> tokenizer_from_gguf(const GgufFile& file) {
    BpeDescription description;
    description.label = file.label();
    const std::string model(TRY(file.text("tokenizer.ggml.model")));
    if (model != "gpt2") {
        return make_error(ErrorCode::unsupported, description.label + ": tokenizer type " +
                                                      show_name(model) +
                                                      "; only byte-level BPE ('gpt2') can be read");
    }
    const std::string pre(file.has("tokenizer.ggml.pre") ? TRY(file.text("tokenizer.ggml.pre"))
                                                         : std::string_view("default"));
    const PreRow* row = nullptr;
    std::string known;
    for (const PreRow& candidate : pre_tokenizers) {
        row = candidate.name == pre ? &candidate : row;
        known += (known.empty() ? "" : ", ") + std::string(candidate.name);
    }
    if (row == nullptr) {
        return make_error(ErrorCode::unsupported, description.label + ": pre-tokenizer " +
                                                      show_name(pre) + "; known are " + known);
    }
    description.pretokenizer = row->options;
    description.pretokenizer.add_prefix_space =
        TRY(file.flag_or("tokenizer.ggml.add_space_prefix", false));
    description.ignore_merges = row->ignore_merges;
    description.nfc = row->nfc;
    TRY(read_tokens(file, &description));
    const auto* merges = TRY(strings(file, "tokenizer.ggml.merges"));
    for (const std::string_view merge : *merges) {
        description.merges.push_back(
            TRY(split_merge(merge, description.merges.size(), description.label)));
    }
    return make_bpe_tokenizer(std::move(description));
}

}  // namespace bitsweep
