#include "results/store/json_text.h"

#include <charconv>
#include <cmath>

namespace bitsweep {
namespace {

// Length of the valid UTF-8 sequence at the front, 0 if there is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xC2 ? 0
                               : first < 0xE0 ? 2
                               : first < 0xF0 ? 3
                               : first < 0xF5 ? 4
                                              : 0;
    if (length == 0 || length > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) {
            return 0;
        }
    }
    const bool overlong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
    const bool outside = (first == 0xED && byte(1) > 0x9F) || (first == 0xF4 && byte(1) > 0x8F);
    return overlong || outside ? 0 : length;
}

void append_escaped(std::string& out, char c) {
    switch (c) {
        case '"':
            out += "\\\"";
            return;
        case '\\':
            out += "\\\\";
            return;
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        default:
            break;
    }
    if (static_cast<unsigned char>(c) < 0x20) {
        constexpr char digits[] = "0123456789abcdef";
        out += "\\u00";
        out += digits[(c >> 4) & 0xF];
        out += digits[c & 0xF];
        return;
    }
    out += c;
}

template <class Number>
std::string join(std::span<const Number> values) {
    std::string out = "[";
    for (const Number value : values) {
        if (out.size() > 1) {
            out += ',';
        }
        out += json_number(static_cast<double>(value));
    }
    return out + "]";
}

}  // namespace

std::string json_quote(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) {
            out += "\xEF\xBF\xBD";
        } else if (length == 1) {
            append_escaped(out, text.front());
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out + "\"";
}

std::string json_number(double value) {
    if (!std::isfinite(value)) {
        return "null";
    }
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    return std::string(buffer, end);
}

std::string json_array(std::span<const double> values) {
    return join(values);
}

std::string json_array(std::span<const std::int32_t> values) {
    return join(values);
}

std::string json_object(const std::map<std::string, std::string>& map) {
    std::string out = "{";
    for (const auto& [name, value] : map) {
        if (out.size() > 1) {
            out += ',';
        }
        out += json_quote(name) + ":" + json_quote(value);
    }
    return out + "}";
}

}  // namespace bitsweep
