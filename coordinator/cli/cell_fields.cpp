#include "coordinator/cli/cell_fields.h"

#include <charconv>
#include <cstdio>

#include "coordinator/expand/text.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

// The canonical form is compact JSON of our own making, two levels deep: a scan is enough, and no
// value needs to be understood.
class Scanner {
 public:
    explicit Scanner(std::string_view text) : text_(text) {}

    void object(const std::string& prefix, CellFields& out) {
        if (!take('{')) {
            return;
        }
        while (at_ < text_.size() && !take('}')) {
            take(',');
            const std::size_t before = at_;
            const std::string name = prefix + string();
            take(':');
            if (at_ < text_.size() && text_[at_] == '{' && prefix.empty()) {
                object(name + ".", out);
            } else {
                out.emplace_back(name, value());
            }
            if (at_ == before) {
                return;  // not the form that we know
            }
        }
    }

 private:
    bool take(char c) {
        if (at_ < text_.size() && text_[at_] == c) {
            ++at_;
            return true;
        }
        return false;
    }

    // The characters between the quotes, escapes as they are.
    std::string string() {
        if (!take('"')) {
            return "";
        }
        const std::size_t start = at_;
        while (at_ < text_.size() && text_[at_] != '"') {
            at_ += text_[at_] == '\\' ? 2 : 1;
        }
        const std::size_t end = std::min(at_, text_.size());
        at_ = end;
        take('"');
        return std::string(text_.substr(start, end - start));
    }

    std::string value() {
        if (at_ < text_.size() && text_[at_] == '"') {
            return string();
        }
        const std::size_t start = at_;
        while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}') {
            ++at_;
        }
        return std::string(text_.substr(start, at_ - start));
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

std::string shown(const std::string& value) {
    const std::string text = as_text(value);
    if (text.size() <= 40) {
        return text.empty() ? "(none)" : text;
    }
    return expand_text::shortened(text, 37);
}

}  // namespace

std::string as_text(std::string_view value) {
    constexpr std::string_view letters = "bfnrt";
    constexpr std::string_view meant = "\b\f\n\r\t";
    std::string out;
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (value[i] != '\\' || i + 1 == value.size()) {
            out += value[i];
        } else if (value.substr(i + 1).starts_with("u00") && i + 5 < value.size()) {
            unsigned code = 0;
            std::from_chars(value.data() + i + 4, value.data() + i + 6, code, 16);
            out += static_cast<char>(code);  // of a control character
            i += 5;
        } else {
            const std::size_t letter = letters.find(value[++i]);
            out += letter == std::string_view::npos ? value[i] : meant[letter];
        }
    }
    return out;
}

CellFields fields_of(std::string_view canonical) {
    CellFields out;
    Scanner(canonical).object("", out);
    return out;
}

CellFields fields_of(const JobSpec& spec) {
    return fields_of(canonical_json(spec));
}

std::vector<FieldChange> changes(const CellFields& before, const CellFields& after) {
    // Both are in the canonical order, which is alphabetical with `model.` and `quality.` inside.
    std::vector<FieldChange> out;
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < before.size() || j < after.size()) {
        const bool only_before =
            j == after.size() || (i < before.size() && before[i].first < after[j].first);
        const bool only_after =
            !only_before && (i == before.size() || after[j].first < before[i].first);
        if (only_before) {
            out.push_back({before[i].first, before[i].second, ""});
            ++i;
        } else if (only_after) {
            out.push_back({after[j].first, "", after[j].second});
            ++j;
        } else {
            if (before[i].second != after[j].second) {
                out.push_back({before[i].first, before[i].second, after[j].second});
            }
            ++i;
            ++j;
        }
    }
    return out;
}

std::string in_words(const std::vector<FieldChange>& changes) {
    std::string out;
    for (const FieldChange& change : changes) {
        out += (out.empty() ? "" : ", ") + change.name + " " + shown(change.before) + " -> " +
               shown(change.after);
    }
    return out;
}

std::string name_of(const JobSpec& spec) {
    const JobSpec usual;
    std::string text = spec.model.name + " " + spec.method;
    if (spec.threshold) {
        char number[32];
        std::snprintf(number, sizeof number, " T=%g", *spec.threshold);
        text += number;
    }
    if (spec.alpha) {
        char number[32];
        std::snprintf(number, sizeof number, " alpha=%g", *spec.alpha);
        text += number;
    }
    const auto add = [&](const char* name, std::int64_t value, std::int64_t common) {
        if (value != common) {
            text += " " + std::string(name) + " " + std::to_string(value);
        }
    };
    add("head", spec.head_bits, usual.head_bits);
    if (spec.kv != usual.kv) {
        text += " kv " + spec.kv;
    }
    add("batch", spec.batch, usual.batch);
    add("prompt_tokens", spec.prompt_tokens, usual.prompt_tokens);
    if (spec.gpu == "*") {
        text += " on each kind";
    } else if (spec.gpu != "cpu") {
        text += " on " + spec.gpu;
    }
    add("repeat", spec.repeat, usual.repeat);
    return text;
}

}  // namespace bitsweep
