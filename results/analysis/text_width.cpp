#include "results/analysis/text_width.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace bitsweep {
namespace {

struct Character {
    char32_t code = 0xFFFD;
    std::size_t bytes = 1;
    bool valid = false;
};

// The character at the front of a text that is not empty (RFC 3629).
Character decode(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        return {first, 1, true};
    }
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) {
        return {};
    }
    char32_t code = first & (0x7F >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) {
            return {};
        }
        code = (code << 6) | (byte(i) & 0x3F);
    }
    constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    if (code < least[length] || code > 0x10FFFF || surrogate) {
        return {};
    }
    return {code, length, true};
}

struct Range {
    char32_t first, last;
};

bool inside(const Range* begin, const Range* end, char32_t code) {
    return std::any_of(begin, end,
                       [&](const Range& r) { return code >= r.first && code <= r.last; });
}

// The blocks that matter of Unicode's combining marks and of its East Asian Width (UAX 11).
constexpr std::array combining = {
    Range{0x0300, 0x036F}, Range{0x0483, 0x0489}, Range{0x0591, 0x05BD}, Range{0x064B, 0x065F},
    Range{0x200B, 0x200F}, Range{0x20D0, 0x20FF}, Range{0xFE00, 0xFE0F}, Range{0xFE20, 0xFE2F}};
constexpr std::array wide = {
    Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},   Range{0x3041, 0x33FF},
    Range{0x3400, 0x4DBF},   Range{0x4E00, 0x9FFF},   Range{0xA000, 0xA4CF},
    Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},   Range{0xFE30, 0xFE6F},
    Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},   Range{0x1F300, 0x1F64F},
    Range{0x1F680, 0x1F6FF}, Range{0x1F900, 0x1F9FF}, Range{0x20000, 0x3FFFD}};

int width_of(char32_t code) {
    if (inside(combining.begin(), combining.end(), code)) {
        return 0;
    }
    return inside(wide.begin(), wide.end(), code) ? 2 : 1;
}

std::string escape(char32_t code) {
    switch (code) {
        case '\n':
            return "\\n";
        case '\t':
            return "\\t";
        case '\r':
            return "\\r";
        default: {
            constexpr char digits[] = "0123456789abcdef";
            return {'\\', 'x', digits[(code >> 4) & 15], digits[code & 15]};
        }
    }
}

}  // namespace

int display_width(std::string_view text) {
    int width = 0;
    while (!text.empty()) {
        const Character c = decode(text);
        width += width_of(c.code);
        text.remove_prefix(c.bytes);
    }
    return width;
}

std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const Character c = decode(text);
        const bool control = c.code < 0x20 || (c.code >= 0x7F && c.code < 0xA0);
        if (!c.valid) {
            out += "\xEF\xBF\xBD";
        } else if (control) {
            out += escape(c.code);
        } else {
            out += text.substr(0, c.bytes);
        }
        text.remove_prefix(c.bytes);
    }
    return out;
}

std::string padded(std::string_view text, int width, Align align) {
    const int missing = width - display_width(text);
    const std::string blanks(static_cast<std::size_t>(std::max(0, missing)), ' ');
    return align == Align::right ? blanks + std::string(text) : std::string(text) + blanks;
}

std::string shortened(std::string_view text, int width) {
    if (display_width(text) <= width) {
        return std::string(text);
    }
    std::string out;
    int used = 1;  // of the ellipsis
    while (!text.empty()) {
        const Character c = decode(text);
        used += width_of(c.code);
        if (used > width) {
            break;
        }
        out += text.substr(0, c.bytes);
        text.remove_prefix(c.bytes);
    }
    return out + "\xE2\x80\xA6";
}

std::vector<std::string> broken(std::string_view text, int width) {
    std::vector<std::string> lines;
    for (const std::string& whole : wrapped(text, std::max(width, 1))) {
        std::string line;
        int used = 0;
        for (std::string_view rest = whole; !rest.empty();) {
            const Character c = decode(rest);
            if (used > 0 && used + width_of(c.code) > width) {
                lines.push_back(std::move(line));
                line.clear();
                used = 0;
            }
            used += width_of(c.code);
            line += rest.substr(0, c.bytes);
            rest.remove_prefix(c.bytes);
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

std::vector<std::string> wrapped(std::string_view text, int width) {
    std::vector<std::string> lines;
    std::string line;
    while (!text.empty()) {
        const std::size_t blank = text.find(' ');
        const std::string_view word = text.substr(0, blank);
        if (!line.empty() && display_width(line) + 1 + display_width(word) > width) {
            lines.push_back(std::move(line));
            line.clear();
        }
        if (!word.empty()) {
            line += (line.empty() ? "" : " ") + std::string(word);
        }
        text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
    }
    if (!line.empty()) {
        lines.push_back(std::move(line));
    }
    return lines;
}

}  // namespace bitsweep
