// The Unicode that byte-level BPE needs: UTF-8 in both directions, character classes, NFC.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitsweep {

// Values are those of scripts/unicode_tables.py.
enum class CharClass : std::uint8_t {
    other,         // punctuation, symbols, controls, unassigned
    letter,        // \p{L}
    number,        // \p{Nd}, \p{Nl}
    number_other,  // \p{No}: superscripts, fractions; \p{N} but no word character
    space,         // \s: White_Space
    word,          // marks, connectors, joiners: \w, neither letter nor number
};

struct Character {
    char32_t code = 0;  // no_character for a byte that is not UTF-8
    std::size_t bytes = 1;
};
inline constexpr char32_t no_character = 0xFFFFFFFF;

// The character at text[position]. Overlong forms, surrogates and values above U+10FFFF are not
// UTF-8: their bytes are read one by one. position < text.size().
Character character_at(std::string_view text, std::size_t position);

// The class of a character; `other` for no_character.
CharClass char_class(char32_t code);

void append_utf8(char32_t code, std::string* out);

// `text` with every maximal broken sequence replaced by U+FFFD (Unicode chapter 3, table 3-8).
std::string with_valid_utf8(std::string_view text);

// Normalisation form C (UAX 15). Bytes that are not UTF-8 stay as they are and separate runs.
std::string to_nfc(std::string_view text);

}  // namespace bitsweep
