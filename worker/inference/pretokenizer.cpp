#include "worker/inference/pretokenizer.h"

#include <array>

#include "worker/inference/unicode.h"

namespace bitsweep {
namespace {

struct PatternRow {
    std::string_view regex;
    SplitPattern pattern;
};

constexpr std::array patterns = {
    PatternRow{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
               SplitPattern::gpt2},
    PatternRow{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
               R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
               SplitPattern::llama3},
    PatternRow{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
               R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
               SplitPattern::qwen2},
};

enum class Kind { letter, number, space, symbol, end };

// One piece of text with a reading position; the pattern's alternatives are its methods, tried in
// the order in which the regular expression names them. Each returns the end of its match, or the
// start where it does not match.
class Scanner {
 public:
    explicit Scanner(std::string_view text) : text_(text) {}

    std::size_t size() const { return text_.size(); }

    Kind kind(std::size_t at) const {
        if (at >= text_.size()) {
            return Kind::end;
        }
        switch (char_class(character_at(text_, at).code)) {
            case CharClass::letter:
                return Kind::letter;
            case CharClass::number:
            case CharClass::number_other:
                return Kind::number;
            case CharClass::space:
                return Kind::space;
            case CharClass::other:
            case CharClass::word:
                break;
        }
        return Kind::symbol;
    }

    std::size_t next(std::size_t at) const { return at + character_at(text_, at).bytes; }

    // One or more characters of one kind, at most `limit`.
    std::size_t run(std::size_t at, Kind wanted, std::size_t limit = SIZE_MAX) const {
        for (std::size_t count = 0; count < limit && kind(at) == wanted; ++count) {
            at = next(at);
        }
        return at;
    }

    // " ?X+"
    std::size_t spaced_run(std::size_t at, Kind wanted) const {
        const std::size_t begin = byte(at) == ' ' ? at + 1 : at;
        const std::size_t end = run(begin, wanted);
        return end == begin ? at : end;
    }

    bool is_break(std::size_t at) const { return byte(at) == '\r' || byte(at) == '\n'; }

    std::size_t breaks(std::size_t at) const {
        while (is_break(at)) {
            ++at;
        }
        return at;
    }

    // "'s|'t|'re|'ve|'m|'ll|'d", where the case counts.
    std::size_t contraction(std::size_t at) const {
        if (byte(at) != '\'') {
            return at;
        }
        for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
            if (text_.substr(at + 1, ending.size()) == ending) {
                return at + 1 + ending.size();
            }
        }
        return at;
    }

    // The same where it does not; the long s (U+017F) folds to s.
    std::size_t caseless_contraction(std::size_t at) const {
        if (byte(at) != '\'') {
            return at;
        }
        if (text_.substr(at + 1, 2) == "\xC5\xBF") {
            return at + 3;
        }
        const auto lower = [&](std::size_t position) {
            const int c = byte(position);
            return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
        };
        const int first = lower(at + 1);
        const int second = lower(at + 2);
        if (first == 's' || first == 't' || first == 'm' || first == 'd') {
            return at + 2;
        }
        const bool is_pair = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                             (first == 'l' && second == 'l');
        return is_pair ? at + 3 : at;
    }

    // "[^\r\n\p{L}\p{N}]?\p{L}+"
    std::size_t led_letters(std::size_t at) const {
        const Kind first = kind(at);
        if ((first == Kind::space || first == Kind::symbol) && !is_break(at)) {
            const std::size_t begin = next(at);
            const std::size_t end = run(begin, Kind::letter);
            return end == begin ? at : end;
        }
        return run(at, Kind::letter);
    }

    // "\s*[\r\n]+": white space up to its last line break.
    std::size_t spaces_to_break(std::size_t at) const {
        std::size_t end = at;
        for (std::size_t i = at; kind(i) == Kind::space; i = next(i)) {
            if (is_break(i)) {
                end = i + 1;
            }
        }
        return end;
    }

    // "\s+(?!\S)|\s+": white space, less its last character when a word follows and more remain.
    std::size_t spaces(std::size_t at) const {
        std::size_t last = at;
        std::size_t end = at;
        while (kind(end) == Kind::space) {
            last = end;
            end = next(end);
        }
        return end == text_.size() || last == at ? end : last;
    }

 private:
    // The byte at a position, or -1 past the end.
    int byte(std::size_t at) const {
        return at < text_.size() ? static_cast<unsigned char>(text_[at]) : -1;
    }

    std::string_view text_;
};

std::size_t match_gpt2(const Scanner& scanner, std::size_t at) {
    std::size_t end = scanner.contraction(at);
    for (const Kind wanted : {Kind::letter, Kind::number, Kind::symbol}) {
        end = end == at ? scanner.spaced_run(at, wanted) : end;
    }
    return end == at ? scanner.spaces(at) : end;
}

std::size_t match_llama3(const Scanner& scanner, std::size_t at, std::size_t digits) {
    std::size_t end = scanner.caseless_contraction(at);
    end = end == at ? scanner.led_letters(at) : end;
    end = end == at ? scanner.run(at, Kind::number, digits) : end;
    if (end == at) {
        end = scanner.spaced_run(at, Kind::symbol);
        end = end == at ? at : scanner.breaks(end);
    }
    end = end == at ? scanner.spaces_to_break(at) : end;
    return end == at ? scanner.spaces(at) : end;
}

std::size_t match(SplitPattern pattern, const Scanner& scanner, std::size_t at) {
    switch (pattern) {
        case SplitPattern::gpt2:
            return match_gpt2(scanner, at);
        case SplitPattern::llama3:
            return match_llama3(scanner, at, 3);
        case SplitPattern::qwen2:
            return match_llama3(scanner, at, 1);
        case SplitPattern::none:
            break;
    }
    return scanner.size();
}

// One piece between cuts: the prefix space, then the pattern.
void split_piece(const PretokenizerOptions& options, std::string_view piece, const WordSink& sink) {
    std::string prefixed;
    if (options.add_prefix_space && !piece.starts_with(' ')) {
        prefixed.assign(1, ' ').append(piece);
        piece = prefixed;
    }
    const Scanner scanner(piece);
    for (std::size_t at = 0; at < piece.size();) {
        const std::size_t end = match(options.pattern, scanner, at);
        sink(piece.substr(at, end - at));
        at = end;
    }
}

}  // namespace

std::optional<SplitPattern> pattern_of_regex(std::string_view regex) {
    for (const PatternRow& row : patterns) {
        if (row.regex == regex) {
            return row.pattern;
        }
    }
    return std::nullopt;
}

void pretokenize(const PretokenizerOptions& options, std::string_view text, const WordSink& sink) {
    if (!options.cuts_digits) {
        split_piece(options, text, sink);
        return;
    }
    const Scanner scanner(text);
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = at;
        if (scanner.kind(at) == Kind::number) {
            end = options.individual_digits ? scanner.next(at) : scanner.run(at, Kind::number);
        } else {
            while (scanner.kind(end) != Kind::number && scanner.kind(end) != Kind::end) {
                end = scanner.next(end);
            }
        }
        split_piece(options, text.substr(at, end - at), sink);
        at = end;
    }
}

}  // namespace bitsweep
