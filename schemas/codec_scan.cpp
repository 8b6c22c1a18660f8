#include "schemas/codec_scan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace bitsweep::codec {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Characters that a JSON string holds as they are.
constexpr std::array<bool, 256> plain_characters = [] {
    std::array<bool, 256> plain{};
    for (std::size_t c = 0x20; c < plain.size(); ++c) {
        plain[c] = c != '"' && c != '\\';
    }
    return plain;
}();

bool is_plain(char c) {
    return plain_characters[static_cast<unsigned char>(c)];
}

int hex_value(char c) {
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xC0 | (code >> 6));
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        out += static_cast<char>(0xE0 | (code >> 12));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    }
}

}  // namespace

bool is_utf8(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    for (std::size_t i = 0; i < text.size();) {
        const unsigned char lead = byte(i);
        if (lead < 0x80) {
            ++i;
            continue;
        }
        const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) {
            return false;
        }
        // The second byte excludes overlong forms, surrogates and what is beyond U+10FFFF.
        const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (byte(i + 1) < low || byte(i + 1) > high) {
            return false;
        }
        for (std::size_t k = 2; k < length; ++k) {
            if ((byte(i + k) & 0xC0) != 0x80) {
                return false;
            }
        }
        i += length;
    }
    return true;
}

bool Scanner::at_end() {
    skip_blanks();
    return at_ == end_;
}

bool Scanner::literal(std::string_view word) {
    skip_blanks();
    if (static_cast<std::size_t>(end_ - at_) < word.size() ||
        !std::equal(word.begin(), word.end(), at_)) {
        return false;
    }
    at_ += word.size();
    return true;
}

bool Scanner::name(std::string_view& out) {
    if (!take('"')) {
        return false;
    }
    const char* start = at_;
    at_ += plain_ascii(at_, end_);
    while (at_ != end_ && is_plain(*at_)) {
        ++at_;
    }
    out = {start, static_cast<std::size_t>(at_ - start)};
    return at_ != end_ && *at_++ == '"';
}

bool Scanner::text(std::string& out) {
    if (!take('"')) {
        return false;
    }
    out.clear();
    for (;;) {
        const char* start = at_;
        bool ascii = true;
        at_ += plain_ascii(at_, end_);
        while (at_ != end_ && is_plain(*at_)) {
            ascii = ascii && static_cast<unsigned char>(*at_) < 0x80;
            ++at_;
        }
        const std::string_view piece(start, static_cast<std::size_t>(at_ - start));
        // An escape stands between whole characters, so each piece is judged alone.
        if (at_ == end_ || (!ascii && !is_utf8(piece))) {
            return false;
        }
        out += piece;
        const char mark = *at_++;
        if (mark == '"') {
            return true;
        }
        if (mark != '\\' || !escape(out)) {
            return false;
        }
    }
}

// Surrogate pairs are left to the library.
bool Scanner::escape(std::string& out) {
    if (at_ == end_) {
        return false;
    }
    const char kind = *at_++;
    constexpr std::string_view kinds = "\"\\/bfnrt";
    constexpr std::string_view values = "\"\\/\b\f\n\r\t";
    if (const std::size_t known = kinds.find(kind); known != std::string_view::npos) {
        out += values[known];
        return true;
    }
    if (kind != 'u' || end_ - at_ < 4) {
        return false;
    }
    unsigned code = 0;
    for (int i = 0; i < 4; ++i) {
        const int digit = hex_value(*at_++);
        if (digit < 0) {
            return false;
        }
        code = code * 16 + static_cast<unsigned>(digit);
    }
    if (code >= 0xD800 && code < 0xE000) {
        return false;
    }
    append_utf8(out, code);
    return true;
}

template <class T>
bool Scanner::read_integer(T& out) {
    skip_blanks();
    const char* digits = at_ + (at_ != end_ && *at_ == '-' ? 1 : 0);
    const auto [after, error] = std::from_chars(at_, end_, out);
    const bool leading_zero = after - digits > 1 && *digits == '0';
    if (error != std::errc() || leading_zero ||
        (after != end_ && (*after == '.' || *after == 'e' || *after == 'E'))) {
        return false;
    }
    at_ = after;
    return true;
}

bool Scanner::integer(std::int64_t& out) {
    return read_integer(out);
}

bool Scanner::integer(std::uint64_t& out) {
    return read_integer(out);
}

bool Scanner::number(double& out, bool& as_integer) {
    skip_blanks();
    const char* p = at_;
    const auto digits = [&] {
        const char* first = p;
        while (p != end_ && is_digit(*p)) {
            ++p;
        }
        return p - first;
    };
    p += p != end_ && *p == '-' ? 1 : 0;
    const char* whole = p;
    const auto length = digits();
    if (length == 0 || (length > 1 && *whole == '0')) {
        return false;
    }
    as_integer = true;
    if (p != end_ && *p == '.') {
        as_integer = false;
        ++p;
        if (digits() == 0) {
            return false;
        }
    }
    if (p != end_ && (*p == 'e' || *p == 'E')) {
        as_integer = false;
        ++p;
        p += p != end_ && (*p == '+' || *p == '-') ? 1 : 0;
        if (digits() == 0) {
            return false;
        }
    }
    const auto [after, error] = std::from_chars(at_, p, out);
    at_ = p;
    if (as_integer && out == 0) {
        out = 0;  // as an integer, -0 has no sign
    }
    // The libraries do not agree on what integers beyond 64 bits are.
    constexpr std::ptrdiff_t sure_digits = 18;
    return error == std::errc() && after == p && std::isfinite(out) &&
           !(as_integer && length > sure_digits);
}

}  // namespace bitsweep::codec
