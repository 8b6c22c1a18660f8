#include "coordinator/expand/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "schemas/catalog/edit_distance.h"

namespace bitsweep::expand_text {

Error error_at(const Files& file, At at, const std::string& message) {
    const std::string place = at.line == 0 ? "--set"
                                           : file.of(at) + ":" + std::to_string(at.line) + ":" +
                                                 std::to_string(at.column);
    return make_error(ErrorCode::invalid_input, place + ": " + message);
}

std::string line_of(At at) {
    return at.line == 0 ? "--set" : "line " + std::to_string(at.line);
}

std::string near(std::string_view word, std::span<const std::string_view> known) {
    std::string_view best;
    std::size_t best_distance = 0;
    const std::string wanted = lower_case(word.substr(0, 64));
    for (const std::string_view candidate : known) {
        const std::size_t distance = edit_distance(wanted, lower_case(candidate));
        if (best.empty() || distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    // Half of the word wrong is another word.
    if (!best.empty() && best_distance * 2 <= std::max(wanted.size(), best.size())) {
        return "; did you mean `" + std::string(best) + "`?";
    }
    return "";
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
    const std::string one = near(word, known);
    return one.empty() ? "; known: " + one_of(known) : one;
}

std::string one_of(std::span<const std::string_view> known) {
    std::string out;
    for (std::size_t i = 0; i < known.size(); ++i) {
        out += i == 0 ? "" : i + 1 == known.size() ? " or " : ", ";
        out += "`" + std::string(known[i]) + "`";
    }
    return out;
}

std::string shortened(std::string_view text, std::size_t most) {
    if (text.size() <= most) {
        return std::string(text);
    }
    std::size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
        --end;  // not inside a UTF-8 sequence
    }
    return std::string(text.substr(0, end)) + "...";
}

std::string shown(std::string_view text) {
    std::string out;
    for (const char c : shortened(text)) {
        if (c == '\n' || c == '\r' || c == '\t') {
            out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
        } else {
            out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
        }
    }
    return out;
}

bool glob_matches(std::string_view pattern, std::string_view text) {
    const std::string p = lower_case(pattern);
    const std::string t = lower_case(text);
    std::size_t i = 0;
    std::size_t j = 0;
    std::size_t star = std::string::npos;
    std::size_t resume = 0;
    while (j < t.size()) {
        if (i < p.size() && p[i] == '*') {
            star = i++;
            resume = j;
        } else if (i < p.size() && (p[i] == '?' || p[i] == t[j])) {
            ++i;
            ++j;
        } else if (star != std::string::npos) {
            i = star + 1;
            j = ++resume;
        } else {
            return false;
        }
    }
    while (i < p.size() && p[i] == '*') {
        ++i;
    }
    return i == p.size();
}

std::string number_text(double value) {
    // 100000, not 1e+05: the same word as in the file.
    if (std::abs(value) < 1e15 && value == std::trunc(value)) {
        return std::to_string(static_cast<std::int64_t>(value));
    }
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value);
    return std::string(digits, end.ptr);
}

double twelve_digits(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.12g", value);
    return std::strtod(text, nullptr);
}

std::string lower_case(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
}

}  // namespace bitsweep::expand_text
