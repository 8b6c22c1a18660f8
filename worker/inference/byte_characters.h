// GPT-2's printable stand-ins for bytes: vocabularies are written in them ('Ġ' is a space).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "worker/inference/unicode.h"

namespace bitsweep {

// Bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves; the other 68, in order, for
// U+0100 and on.
inline bool stands_for_itself(int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The byte of each code point up to U+0143; -1 where there is none.
inline std::array<int, 0x144> make_byte_of_character() {
    std::array<int, 0x144> bytes{};
    bytes.fill(-1);
    std::size_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
        bytes[stands_for_itself(byte) ? static_cast<std::size_t>(byte) : next++] = byte;
    }
    return bytes;
}

// The bytes that a token stands for, or nothing when it is not written in byte characters.
inline std::optional<std::string> bytes_of_token(std::string_view token) {
    static const auto bytes = make_byte_of_character();
    std::string out;
    for (std::size_t i = 0; i < token.size();) {
        const Character character = character_at(token, i);
        if (character.code >= bytes.size() || bytes[character.code] < 0) {
            return std::nullopt;
        }
        out += static_cast<char>(bytes[character.code]);
        i += character.bytes;
    }
    return out;
}

}  // namespace bitsweep
