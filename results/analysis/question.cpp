#include "results/analysis/question.h"

#include <vector>

namespace bitsweep {
namespace {

constexpr std::string_view blanks = " \t\r";

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return lines;
}

// The inside of a quoted text, with its two kinds of escapes that people use.
std::string unquote(std::string_view text) {
    const char quote = text.front();
    std::string out;
    for (std::size_t i = 1; i < text.size(); ++i) {
        const bool doubled = quote == '\'' && text.substr(i, 2) == "''";
        const bool escaped = quote == '"' && text[i] == '\\' && i + 1 < text.size();
        if (doubled || escaped) {
            out += text[++i];
        } else if (text[i] == quote) {
            break;
        } else {
            out += text[i];
        }
    }
    return out;
}

std::string_view without_comment(std::string_view text) {
    const std::size_t hash = text.find(" #");
    return trim(text.substr(0, hash));
}

}  // namespace

std::string question_of(std::string_view yaml) {
    constexpr std::string_view key = "question:";
    const std::vector<std::string_view> lines = lines_of(yaml);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (!lines[i].starts_with(key)) {
            continue;
        }
        std::string value(trim(lines[i].substr(key.size())));
        const bool quoted = value.starts_with('"') || value.starts_with('\'');
        if (!quoted) {
            value = without_comment(value);
        }
        if (value.starts_with('>') || value.starts_with('|')) {
            value.clear();
        }
        for (++i; i < lines.size() && (lines[i].starts_with(' ') || trim(lines[i]).empty()); ++i) {
            const std::string_view more = quoted ? trim(lines[i]) : without_comment(trim(lines[i]));
            value += (value.empty() || more.empty() ? "" : " ") + std::string(more);
        }
        return quoted ? unquote(value) : value;
    }
    return {};
}

}  // namespace bitsweep
