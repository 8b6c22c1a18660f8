#include "worker/inference/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace bitsweep {
namespace {

#include "worker/inference/unicode_classes.inc"

// The class of the run that holds `code`.
CharClass look_up(char32_t code) {
    const auto* after = std::upper_bound(
        std::begin(char_class_runs), std::end(char_class_runs), static_cast<std::uint32_t>(code),
        [](std::uint32_t value, std::uint32_t run) { return value < run >> 3; });
    return static_cast<CharClass>(*(after - 1) & 7);
}

std::array<CharClass, 0x800> first_classes() {
    std::array<CharClass, 0x800> classes{};
    for (std::size_t code = 0; code < classes.size(); ++code) {
        classes[code] = look_up(static_cast<char32_t>(code));
    }
    return classes;
}

// How a lead byte goes on: bytes in all, and the range of the second byte, which excludes overlong
// forms, surrogates and values above U+10FFFF (Unicode table 3-7).
struct Lead {
    std::size_t bytes = 0;  // 0: not a lead byte
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
};

Lead lead_of(unsigned char byte) {
    if (byte < 0x80) {
        return {1};
    }
    if (byte >= 0xC2 && byte <= 0xDF) {
        return {2};
    }
    if (byte >= 0xE0 && byte <= 0xEF) {
        return {3, static_cast<unsigned char>(byte == 0xE0 ? 0xA0 : 0x80),
                static_cast<unsigned char>(byte == 0xED ? 0x9F : 0xBF)};
    }
    if (byte >= 0xF0 && byte <= 0xF4) {
        return {4, static_cast<unsigned char>(byte == 0xF0 ? 0x90 : 0x80),
                static_cast<unsigned char>(byte == 0xF4 ? 0x8F : 0xBF)};
    }
    return {};
}

// Bytes of the longest well-formed beginning at `position`: lead.bytes when the character is whole.
std::size_t well_formed_bytes(std::string_view text, std::size_t position, const Lead& lead) {
    std::size_t count = 1;
    for (; count < lead.bytes && position + count < text.size(); ++count) {
        const auto byte = static_cast<unsigned char>(text[position + count]);
        const unsigned char low = count == 1 ? lead.low : 0x80;
        const unsigned char high = count == 1 ? lead.high : 0xBF;
        if (byte < low || byte > high) {
            break;
        }
    }
    return count;
}

}  // namespace

Character character_at(std::string_view text, std::size_t position) {
    const auto first = static_cast<unsigned char>(text[position]);
    if (first < 0x80) {
        return {first, 1};
    }
    const Lead lead = lead_of(first);
    if (lead.bytes == 0 || well_formed_bytes(text, position, lead) != lead.bytes) {
        return {no_character, 1};
    }
    char32_t code = first & (0x7Fu >> lead.bytes);
    for (std::size_t i = 1; i < lead.bytes; ++i) {
        code = code << 6 | (static_cast<unsigned char>(text[position + i]) & 0x3Fu);
    }
    return {code, lead.bytes};
}

CharClass char_class(char32_t code) {
    static const auto first = first_classes();
    if (code < first.size()) {
        return first[code];
    }
    return code == no_character ? CharClass::other : look_up(code);
}

void append_utf8(char32_t code, std::string* out) {
    const auto tail = [&](int shift) {
        out->push_back(static_cast<char>(0x80 | ((code >> shift) & 0x3F)));
    };
    if (code < 0x80) {
        out->push_back(static_cast<char>(code));
    } else if (code < 0x800) {
        out->push_back(static_cast<char>(0xC0 | code >> 6));
        tail(0);
    } else if (code < 0x10000) {
        out->push_back(static_cast<char>(0xE0 | code >> 12));
        tail(6);
        tail(0);
    } else {
        out->push_back(static_cast<char>(0xF0 | code >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

std::string with_valid_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t position = 0; position < text.size();) {
        const Lead lead = lead_of(static_cast<unsigned char>(text[position]));
        const std::size_t count = lead.bytes == 0 ? 1 : well_formed_bytes(text, position, lead);
        if (lead.bytes != 0 && count == lead.bytes) {
            out += text.substr(position, count);
        } else {
            out += "\xEF\xBF\xBD";
        }
        position += count;
    }
    return out;
}

}  // namespace bitsweep
