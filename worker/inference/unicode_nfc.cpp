// Normalisation form C: decompose, order the marks, compose (UAX 15, with Hangul by arithmetic).
#include <algorithm>
#include <iterator>
#include <map>
#include <vector>

#include "worker/inference/unicode.h"

namespace bitsweep {
namespace {

struct Decomposition {
    char32_t code;
    char32_t first;
    char32_t second;  // 0: a single character
};

#include "worker/inference/unicode_nfc.inc"

constexpr char32_t hangul_base = 0xAC00;
constexpr char32_t lead_base = 0x1100;
constexpr char32_t vowel_base = 0x1161;
constexpr char32_t tail_base = 0x11A7;
constexpr char32_t lead_count = 19;
constexpr char32_t vowel_count = 21;
constexpr char32_t tail_count = 28;
constexpr char32_t hangul_count = lead_count * vowel_count * tail_count;

int combining_class(char32_t code) {
    const auto* after = std::upper_bound(
        std::begin(combining_runs), std::end(combining_runs), static_cast<std::uint32_t>(code),
        [](std::uint32_t value, std::uint32_t run) { return value < run >> 8; });
    return static_cast<int>(*(after - 1) & 0xFF);
}

void decompose(char32_t code, std::vector<char32_t>* out) {
    if (code >= hangul_base && code < hangul_base + hangul_count) {
        const char32_t index = code - hangul_base;
        out->push_back(lead_base + index / (vowel_count * tail_count));
        out->push_back(vowel_base + index % (vowel_count * tail_count) / tail_count);
        if (index % tail_count != 0) {
            out->push_back(tail_base + index % tail_count);
        }
        return;
    }
    const auto* row = std::lower_bound(
        std::begin(decompositions), std::end(decompositions), code,
        [](const Decomposition& entry, char32_t value) { return entry.code < value; });
    if (row == std::end(decompositions) || row->code != code) {
        out->push_back(code);
        return;
    }
    decompose(row->first, out);  // at most a few steps: the table's chains are short
    if (row->second != 0) {
        decompose(row->second, out);
    }
}

using Compositions = std::map<std::pair<char32_t, char32_t>, char32_t>;

Compositions make_compositions() {
    Compositions pairs;
    for (const Decomposition& row : decompositions) {
        const bool is_excluded = std::find(std::begin(never_composed), std::end(never_composed),
                                           row.code) != std::end(never_composed);
        if (row.second != 0 && !is_excluded) {
            pairs[{row.first, row.second}] = row.code;
        }
    }
    return pairs;
}

// The primary composite of two characters, or 0.
char32_t compose(char32_t first, char32_t second) {
    static const Compositions pairs = make_compositions();
    if (first >= lead_base && first < lead_base + lead_count && second >= vowel_base &&
        second < vowel_base + vowel_count) {
        return hangul_base +
               ((first - lead_base) * vowel_count + (second - vowel_base)) * tail_count;
    }
    const bool is_syllable = first >= hangul_base && first < hangul_base + hangul_count &&
                             (first - hangul_base) % tail_count == 0;
    if (is_syllable && second > tail_base && second < tail_base + tail_count) {
        return first + (second - tail_base);
    }
    const auto it = pairs.find({first, second});
    return it == pairs.end() ? 0 : it->second;
}

void order_marks(std::vector<char32_t>* text) {
    for (auto it = text->begin(); it != text->end();) {
        if (combining_class(*it) == 0) {
            ++it;
            continue;
        }
        auto end = it;
        while (end != text->end() && combining_class(*end) != 0) {
            ++end;
        }
        std::stable_sort(it, end, [](char32_t a, char32_t b) {
            return combining_class(a) < combining_class(b);
        });
        it = end;
    }
}

// A character joins the last starter unless something between them blocks it.
std::vector<char32_t> compose_all(const std::vector<char32_t>& text) {
    std::vector<char32_t> out;
    std::size_t starter = 0;
    bool has_starter = false;
    int last_class = 0;
    for (const char32_t code : text) {
        const int mark = combining_class(code);
        const bool is_adjacent = has_starter && starter + 1 == out.size();
        if (has_starter && (is_adjacent || (last_class != 0 && last_class < mark))) {
            const char32_t joined = compose(out[starter], code);
            if (joined != 0) {
                out[starter] = joined;
                continue;
            }
        }
        if (mark == 0) {
            starter = out.size();
            has_starter = true;
        }
        last_class = mark;
        out.push_back(code);
    }
    return out;
}

void append_nfc(std::string_view valid, std::string* out) {
    std::vector<char32_t> text;
    for (std::size_t i = 0; i < valid.size();) {
        const Character character = character_at(valid, i);
        decompose(character.code, &text);
        i += character.bytes;
    }
    order_marks(&text);
    for (const char32_t code : compose_all(text)) {
        append_utf8(code, out);
    }
}

}  // namespace

std::string to_nfc(std::string_view text) {
    const bool is_ascii = std::none_of(text.begin(), text.end(),
                                       [](char c) { return static_cast<unsigned char>(c) > 127; });
    if (is_ascii) {
        return std::string(text);
    }
    std::string out;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size();) {
        const Character character = character_at(text, i);
        if (character.code == no_character) {
            append_nfc(text.substr(begin, i - begin), &out);
            out += text[i];
            begin = i + 1;
        }
        i += character.bytes;
    }
    append_nfc(text.substr(begin), &out);
    return out;
}

}  // namespace bitsweep
