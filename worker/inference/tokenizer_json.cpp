// tokenizer.json of Hugging Face tokenizers, and its older form vocab.json + merges.txt.
#include <array>

#include "worker/inference/bpe.h"
#include "worker/inference/json_file.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

constexpr std::uint64_t max_tokenizer_bytes = 256ull << 20;  // Llama 3's has 9 MB

Error corrupt(const std::string& label, const std::string& what) {
    return make_error(ErrorCode::corrupt, label + ": " + what);
}
Error unsupported(const std::string& label, const std::string& what) {
    return make_error(ErrorCode::unsupported, label + ": " + what);
}

const Json* member(const Json& object, const char* key) {
    if (!object.is_object()) {
        return nullptr;
    }
    const auto it = object.find(key);
    return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string text_of(const Json& object, const char* key) {
    const Json* value = member(object, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

bool flag_of(const Json& object, const char* key, bool fallback) {
    const Json* value = member(object, key);
    return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
}

Status read_vocabulary(const Json& vocabulary, const std::string& label, BpeDescription* out) {
    if (!vocabulary.is_object()) {
        return corrupt(label, "'vocab' is not an object of tokens and ids");
    }
    for (const auto& [token, id] : vocabulary.items()) {
        if (!id.is_number_unsigned() ||
            id.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
            return corrupt(label, "token " + show_name(token) +
                                      " has an id that is not a whole "
                                      "number");
        }
        out->vocabulary.emplace_back(token, static_cast<std::int64_t>(id.get<std::uint64_t>()));
    }
    return {};
}

// Entries are "a b", or ["a", "b"] since tokenizers 0.20.
Status read_merges(const Json& merges, const std::string& label, BpeDescription* out) {
    if (!merges.is_array()) {
        return corrupt(label, "'merges' is not a list");
    }
    for (const Json& merge : merges) {
        const std::size_t index = out->merges.size();
        if (merge.is_string()) {
            out->merges.push_back(TRY(split_merge(merge.get<std::string>(), index, label)));
        } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                   merge[1].is_string()) {
            out->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
        } else {
            return corrupt(
                label, "merge " + std::to_string(index) + " is neither \"a b\" nor [\"a\", \"b\"]");
        }
    }
    return {};
}

Status read_model(const Json& root, const std::string& label, BpeDescription* out) {
    const Json* model = member(root, "model");
    if (model == nullptr || !model->is_object()) {
        return corrupt(label, "has no 'model' object; this is not a tokenizer.json");
    }
    const std::string type = text_of(*model, "type");
    const bool has_merges = member(*model, "merges") != nullptr;
    if (type != "BPE" && !(type.empty() && has_merges)) {
        return unsupported(label, "tokenizer type " + show_name(type) +
                                      "; only byte-level BPE ('BPE') can be read");
    }
    if (flag_of(*model, "byte_fallback", false)) {
        return unsupported(label,
                           "BPE with 'byte_fallback' (SentencePiece); only byte-level BPE "
                           "can be read");
    }
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        if (!text_of(*model, affix).empty()) {
            return unsupported(
                label, "BPE with '" + std::string(affix) + "'; only byte-level BPE can be read");
        }
    }
    const Json* dropout = member(*model, "dropout");
    if (dropout != nullptr && !(dropout->is_number() && dropout->get<double>() == 0)) {
        return unsupported(label, "BPE with 'dropout'; encoding would be random");
    }
    out->ignore_merges = flag_of(*model, "ignore_merges", false);
    const Json* vocabulary = member(*model, "vocab");
    const Json* merges = member(*model, "merges");
    if (vocabulary == nullptr || merges == nullptr) {
        return corrupt(label, "'model' lacks 'vocab' or 'merges'");
    }
    TRY(read_vocabulary(*vocabulary, label, out));
    return read_merges(*merges, label, out);
}

Status read_added_tokens(const Json& root, const std::string& label, BpeDescription* out) {
    const Json* list = member(root, "added_tokens");
    if (list == nullptr) {
        return {};
    }
    if (!list->is_array()) {
        return corrupt(label, "'added_tokens' is not a list");
    }
    for (const Json& entry : *list) {
        const Json* id = member(entry, "id");
        AddedToken token;
        token.content = text_of(entry, "content");
        if (id == nullptr || !id->is_number_unsigned() || token.content.empty() ||
            id->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
            return corrupt(label, "an entry of 'added_tokens' lacks 'content' or a whole 'id'");
        }
        token.id = static_cast<std::int64_t>(id->get<std::uint64_t>());
        token.single_word = flag_of(entry, "single_word", false);
        token.lstrip = flag_of(entry, "lstrip", false);
        token.rstrip = flag_of(entry, "rstrip", false);
        token.normalized = flag_of(entry, "normalized", false);
        out->added.push_back(std::move(token));
    }
    return {};
}

// The steps of a "Sequence", or the one step that there is.
std::vector<const Json*> steps_of(const Json* step, const char* list_key) {
    std::vector<const Json*> steps;
    if (step == nullptr) {
        return steps;
    }
    if (text_of(*step, "type") != "Sequence") {
        steps.push_back(step);
        return steps;
    }
    if (const Json* list = member(*step, list_key); list != nullptr && list->is_array()) {
        for (const Json& inner : *list) {
            steps.push_back(&inner);
        }
    }
    return steps;
}

Status read_normalizer(const Json& root, const std::string& label, BpeDescription* out) {
    for (const Json* step : steps_of(member(root, "normalizer"), "normalizers")) {
        const std::string type = text_of(*step, "type");
        if (type != "NFC") {
            return unsupported(label, "normalizer " + show_name(type) + "; none and NFC are known");
        }
        out->nfc = true;
    }
    return {};
}

// A "Split" step: its pattern must be one of the known ones, and no text may be lost.
Status read_split(const Json& step, const std::string& label, PretokenizerOptions* options) {
    const Json* pattern = member(step, "pattern");
    const std::string regex = pattern == nullptr ? "" : text_of(*pattern, "Regex");
    const auto known = pattern_of_regex(regex);
    if (!known) {
        // The pattern is the whole message: it must not be cut as show_name() would.
        std::string shown;
        for (const char c : regex.substr(0, 1000)) {
            shown += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
        return unsupported(label, "unknown pre-tokenizer pattern \"" + shown +
                                      "\"; those of GPT-2, Llama 3 and Qwen2 are known");
    }
    const std::string behavior = text_of(step, "behavior");
    const bool inverted = flag_of(step, "invert", false);
    const bool keeps_all =
        (behavior == "Isolated" && !inverted) || (behavior == "Removed" && inverted);
    if (!keeps_all) {
        return unsupported(label, "pre-tokenizer Split with behavior " + show_name(behavior) +
                                      "; Isolated is known");
    }
    if (options->pattern != SplitPattern::none) {
        return unsupported(label, "pre-tokenizer with two Split patterns");
    }
    options->pattern = *known;
    return {};
}

Status read_pretokenizer(const Json& root, const std::string& label, BpeDescription* out) {
    PretokenizerOptions& options = out->pretokenizer;
    options.pattern = SplitPattern::none;
    bool is_byte_level = false;
    for (const Json* step : steps_of(member(root, "pre_tokenizer"), "pretokenizers")) {
        const std::string type = text_of(*step, "type");
        if (is_byte_level) {
            return unsupported(label, "pre-tokenizer " + show_name(type) + " after ByteLevel");
        }
        if (type == "Split") {
            TRY(read_split(*step, label, &options));
        } else if (type == "Digits") {
            if (options.pattern != SplitPattern::none || options.cuts_digits) {
                return unsupported(label, "pre-tokenizer Digits after another cut");
            }
            options.cuts_digits = true;
            options.individual_digits = flag_of(*step, "individual_digits", false);
        } else if (type == "ByteLevel") {
            is_byte_level = true;
            const bool has_pattern = options.pattern != SplitPattern::none;
            options.add_prefix_space = flag_of(*step, "add_prefix_space", true);
            if (flag_of(*step, "use_regex", true)) {
                if (has_pattern) {
                    return unsupported(label, "pre-tokenizer with a Split and ByteLevel's own");
                }
                options.pattern = SplitPattern::gpt2;
            } else if (has_pattern && options.add_prefix_space) {
                return unsupported(label, "pre-tokenizer with a Split and 'add_prefix_space'");
            }
        } else {
            return unsupported(label, "pre-tokenizer " + show_name(type) +
                                          "; ByteLevel, Split and Digits are known");
        }
    }
    if (!is_byte_level) {
        return unsupported(label,
                           "has no ByteLevel pre-tokenizer; only byte-level BPE can be read");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> tokenizer_from_json(
    const std::filesystem::path& tokenizer_json) {
    const std::string label = tokenizer_json.string();
    const Json root = TRY(read_json_file(tokenizer_json, max_tokenizer_bytes));
    BpeDescription description;
    description.label = label;
    TRY(read_model(root, label, &description));
    TRY(read_normalizer(root, label, &description));
    TRY(read_pretokenizer(root, label, &description));
    TRY(read_added_tokens(root, label, &description));
    return make_bpe_tokenizer(std::move(description));
}

Result<std::unique_ptr<Tokenizer>> tokenizer_from_vocab_merges(
    const std::filesystem::path& vocab_json, const std::filesystem::path& merges_txt) {
    BpeDescription description;
    description.label = vocab_json.string();
    const Json vocabulary = TRY(read_json_file(vocab_json, max_tokenizer_bytes));
    TRY(read_vocabulary(vocabulary, description.label, &description));
    const std::string text = TRY(read_text_file(merges_txt, max_tokenizer_bytes));
    for (std::size_t begin = 0, line = 0; begin < text.size(); ++line) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        std::string_view merge(text.data() + begin, end - begin);
        begin = end + 1;
        if (merge.ends_with('\r')) {
            merge.remove_suffix(1);
        }
        if (merge.empty() || (line == 0 && merge.starts_with("#version"))) {
            continue;
        }
        description.merges.push_back(
            TRY(split_merge(merge, description.merges.size(), merges_txt.string())));
    }
    // This form does not say which tokens are special; these are GPT-2's and OPT's.
    for (const char* special : {"<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>"}) {
        const auto it = vocabulary.find(special);
        if (it != vocabulary.end()) {
            AddedToken token;
            token.content = special;
            token.id = static_cast<std::int64_t>(it->get<std::uint64_t>());
            description.added.push_back(std::move(token));
        }
    }
    return make_bpe_tokenizer(std::move(description));
}

}  // namespace bitsweep
