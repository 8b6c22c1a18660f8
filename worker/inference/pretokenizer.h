// The first cut of byte-level BPE: text into words that merges never cross. The patterns are those
// of the model families, matched by hand because no C++ regular expression library knows both \p{L}
// and (?!\S), and checked word by word against Hugging Face tokenizers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace bitsweep {

enum class SplitPattern {
    none,    // the whole text is one word
    gpt2,    // GPT-2's, also OPT and, after a cut at each digit, SmolLM2
    llama3,  // Llama 3: case-blind contractions, up to three digits, line breaks apart
    qwen2,   // Qwen2 and Qwen2.5: as llama3 with single digits
};

struct PretokenizerOptions {
    SplitPattern pattern = SplitPattern::gpt2;
    bool cuts_digits = false;        // "Digits": numbers apart from the rest, before the pattern
    bool individual_digits = false;  // ... each digit by itself
    bool add_prefix_space = false;   // a piece that does not start with ' ' gets one
};

// The pattern whose regular expression is written exactly so in tokenizer.json.
std::optional<SplitPattern> pattern_of_regex(std::string_view regex);

using WordSink = std::function<void(std::string_view word)>;

// Calls `sink` with the words of `text` in order. Without add_prefix_space their concatenation is
// `text`. A byte that is not UTF-8 counts as a symbol. The view is valid during the call.
void pretokenize(const PretokenizerOptions& options, std::string_view text, const WordSink& sink);

}  // namespace bitsweep
