// The first tokens of a text file, and how many bytes of the text each stands for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/tokenizer.h"

namespace bitsweep {

struct TextTokens {
    std::vector<std::int32_t> ids;
    // Bytes of the text behind each id; empty where the tokenizer does not give the text back.
    std::vector<std::int32_t> bytes;
};

// The first `tokens` ids of the whole text's encoding (fewer when the text is shorter). Reads and
// encodes only as much of the file as that needs. not_found, io.
Result<TextTokens> first_tokens(const Tokenizer& tokenizer, const std::filesystem::path& file,
                                std::int64_t tokens);

// Bytes of `text` behind each id; empty when the ids do not spell the text, shorter than `ids` when
// they end inside a character. A character that is split over several tokens gives each of them one
// byte and the rest to the last.
std::vector<std::int32_t> token_bytes(const Tokenizer& tokenizer, std::string_view text,
                                      const std::vector<std::int32_t>& ids);

}  // namespace bitsweep
