// Byte-level BPE, whatever file describes it. Private to the tokenizer's readers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/pretokenizer.h"
#include "worker/inference/tokenizer.h"

namespace bitsweep {

// A token that is found in the text before anything else (Hugging Face "added_tokens").
struct AddedToken {
    std::string content;
    std::int64_t id = 0;
    bool single_word = false;  // only where no word character touches it
    bool lstrip = false;       // takes the white space before it along
    bool rstrip = false;       // ... and after it
    bool normalized = false;   // looked for after normalisation instead of before
};

struct BpeDescription {
    std::string label;                                             // file, for messages
    std::vector<std::pair<std::string, std::int64_t>> vocabulary;  // written in byte characters
    std::vector<std::pair<std::string, std::string>> merges;       // most important first
    std::vector<AddedToken> added;
    PretokenizerOptions pretokenizer;
    bool ignore_merges = false;  // a word that is in the vocabulary is taken whole (Llama 3)
    bool nfc = false;            // Qwen2
};

// corrupt: ids or tokens twice, ids out of range, a merge of unknown tokens, a printable ASCII byte
// without a token. Other bytes may lack one (SmolLM2 has no token for 0x04 and 20 others): they are
// left out of the text, as Hugging Face tokenizers does without an unknown token.
Result<std::unique_ptr<Tokenizer>> make_bpe_tokenizer(BpeDescription description);

// "a b" -> {"a", "b"}; corrupt when it is not two words. `index` is for the message.
Result<std::pair<std::string, std::string>> split_merge(std::string_view text, std::size_t index,
                                                        const std::string& label);

// vocab.json and merges.txt of GPT-2, DialoGPT and OPT folders that have no tokenizer.json.
Result<std::unique_ptr<Tokenizer>> tokenizer_from_vocab_merges(
    const std::filesystem::path& vocab_json, const std::filesystem::path& merges_txt);

}  // namespace bitsweep
