// Byte-level BPE as Hugging Face's tokenizer.json and GGUF metadata describe it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

class Tokenizer {
 public:
    virtual ~Tokenizer() = default;

    // Token ids of UTF-8 text. Added tokens written in the text are recognised; no special token is
    // added. Invalid UTF-8 is encoded byte by byte; a byte that has no token is left out.
    virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;

    // Text of ids: the bytes they stand for, invalid UTF-8 replaced by U+FFFD.
    virtual std::string decode(std::span<const std::int32_t> ids) const = 0;

    virtual std::int64_t vocabulary() const = 0;
};

// corrupt, not_found, unsupported (model type other than byte-level BPE; an unknown pre-tokenizer
// names its pattern).
Result<std::unique_ptr<Tokenizer>> tokenizer_from_json(const std::filesystem::path& tokenizer_json);

}  // namespace bitsweep
