#include <charconv>

#include "schemas/codec_fields.h"
#include "schemas/codec_scan.h"

namespace bitsweep::codec {
namespace {

template <class Number>
void append_number(std::string& out, Number value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, end);
}

// Position of the first character that may not stand as it is, or the size.
std::size_t plain_length(std::string_view text, bool& ascii) {
    std::size_t i = plain_ascii(text.data(), text.data() + text.size());
    for (; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            break;
        }
        ascii = ascii && byte < 0x80;
    }
    return i;
}

void append_escaped(std::string& out, char c) {
    constexpr std::string_view known = "\"\\\b\f\n\r\t";
    constexpr std::string_view letters = "\"\\bfnrt";
    constexpr std::string_view hex = "0123456789abcdef";
    if (const std::size_t at = known.find(c); at != std::string_view::npos) {
        out += '\\';
        out += letters[at];
        return;
    }
    out += "\\u00";
    out += hex[(static_cast<unsigned char>(c) >> 4) & 15];
    out += hex[static_cast<unsigned char>(c) & 15];
}

}  // namespace

void write(std::string& out, std::string_view value) {
    const std::size_t before = out.size();
    bool ascii = true;
    out += '"';
    for (std::string_view rest = value;;) {
        const std::size_t plain = plain_length(rest, ascii);
        out += rest.substr(0, plain);
        if (plain == rest.size()) {
            break;
        }
        append_escaped(out, rest[plain]);
        rest.remove_prefix(plain + 1);
    }
    out += '"';
    if (!ascii && !is_utf8(value)) {
        out.resize(before);
        out += Json(value).dump(-1, ' ', false, Json::error_handler_t::replace);
    }
}

void write(std::string& out, bool value) {
    out += value ? "true" : "false";
}

void write(std::string& out, std::int64_t value) {
    append_number(out, value);
}

void write(std::string& out, std::uint64_t value) {
    append_number(out, value);
}

void write(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    const std::size_t before = out.size();
    append_number(out, value);
    // A whole number stays a fraction for who reads types: 6.0.
    if (out.find_first_of(".e", before) == std::string::npos) {
        out += ".0";
    }
}

}  // namespace bitsweep::codec
