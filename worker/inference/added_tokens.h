// Finds added tokens in a text: leftmost, longest first, with their stripping flags, as Hugging
// Face tokenizers does (added_vocabulary.rs).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "worker/inference/bpe.h"

namespace bitsweep {

class AddedTokenMatcher {
 public:
    explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

    // Calls `sink` for the pieces of `text` in order: id >= 0 for a token, -1 for text between.
    using PieceSink = std::function<void(std::string_view piece, std::int64_t id)>;
    void split(std::string_view text, const PieceSink& sink) const;

 private:
    const AddedToken* longest_at(std::string_view text, std::size_t at) const;

    std::vector<AddedToken> tokens_;                             // longest first
    std::array<std::vector<std::uint32_t>, 256> by_first_byte_;  // indices into tokens_
};

}  // namespace bitsweep
