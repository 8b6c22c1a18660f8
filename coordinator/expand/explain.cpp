#include "coordinator/expand/explain.h"

#include <algorithm>

#include "coordinator/expand/card_condition.h"
#include "coordinator/expand/draft.h"
#include "coordinator/expand/readers.h"
#include "coordinator/expand/text.h"
#include "schemas/catalog/cards.h"

namespace bitsweep {
namespace {

using expand_text::shown;

std::string place_of(const Files& files, At at) {
    return at == At{} ? ""
           : at.line == 0
               ? "--set"
               : files.of(at) + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

std::string_view fate_word(CellFate::Kind kind) {
    switch (kind) {
        case CellFate::Kind::kept:
            return "cell";
        case CellFate::Kind::excluded:
            return "excluded";
        case CellFate::Kind::filtered:
            return "removed by where";
        case CellFate::Kind::merged:
            return "merged: equal to a cell above";
    }
    return "";
}

// What a template's `where` asks of the card that attaches.
std::string left_in_words(const std::string& condition) {
    std::string failing;
    for (const Card& card : card_table()) {
        DeviceInfo device;
        device.kind = card.name;
        if (!decide_for_card(condition, card_facts(device)).runs) {
            failing += (failing.empty() ? "" : ", ") + std::string(card.name);
        }
    }
    return "where the card meets `" + condition + "`: " +
           (failing.empty() ? "every known card does" : "of the known cards not " + failing);
}

// The values that the file says for what the cell's method does not read.
std::vector<std::pair<Field, const Value*>> dropped_from(const Draft& draft) {
    std::vector<std::pair<Field, const Value*>> out;
    for (std::size_t i = 0; i < optional_fields.size(); ++i) {
        if (const Value* value = draft.unread[i]; value != nullptr && value->at != At{}) {
            out.emplace_back(optional_fields[i], value);
        }
    }
    return out;
}

ExplainedCell explained(const CellFate& fate, const Files& files) {
    ExplainedCell cell;
    cell.fate = fate_word(fate.kind);
    cell.place = place_of(files, fate.at);
    if (!fate.rule.empty()) {
        cell.why = fate.kind == CellFate::Kind::kept ? left_in_words(fate.rule)
                                                     : fate.rule + " (" + fate.why + ")";
    }
    const bool left_out =
        fate.kind == CellFate::Kind::excluded || fate.kind == CellFate::Kind::filtered;
    for (const auto& [field, value] : dropped_from(fate.draft)) {
        if (left_out) {
            break;  // the rule is why
        }
        cell.why += (cell.why.empty() ? "" : "; ") + std::string(to_string(field)) + " " +
                    shown(value->key) + " dropped: " + unread_because(fate.draft, field);
    }
    for (std::size_t i = 0; i < field_count; ++i) {
        if (const Value* value = fate.draft.values[i]) {
            cell.from.push_back({std::string(to_string(static_cast<Field>(i))),
                                 expand_text::shortened(value->key), place_of(files, value->at)});
        }
    }
    cell.from.push_back({"repeat", std::to_string(fate.draft.repeat), ""});
    return cell;
}

Result<std::vector<Condition>> read_conditions(
    const std::vector<std::pair<std::string, std::string>>& pairs) {
    std::vector<Condition> out;
    for (const auto& [name, text] : pairs) {
        yaml::Node key;
        key.kind = yaml::Kind::scalar;
        key.text = name;
        // A pattern such as *nano is no YAML: only lists are read as such.
        yaml::Node value;
        value.kind = yaml::Kind::scalar;
        value.text = text;
        if (text.starts_with('[')) {
            value = TRY(yaml::read_document(text, name));
        }
        Result<Condition> condition = read_condition(key, value, Files("explain"));
        if (!condition) {
            // There is no file to name: "--set: ..." becomes the pair as typed.
            std::string message = condition.error().message;
            if (const std::string set = "--set: "; message.starts_with(set)) {
                message = shown(name + "=" + text) + ": " + message.substr(set.size());
            }
            return make_error(ErrorCode::invalid_input, message);
        }
        out.push_back(std::move(condition).value());
    }
    return out;
}

// What the combinations had for each condition's field, for the message when none fits.
class Seen {
 public:
    explicit Seen(const std::vector<Condition>& conditions)
        : conditions_(conditions), met_(conditions.size()), values_(conditions.size()) {}

    // Whether all conditions hold, of what was asked: who asks for a threshold that nf4 does not
    // read learns so.
    bool check(Draft draft) {
        for (const auto& [field, value] : dropped_from(draft)) {
            draft[field] = draft[field] != nullptr ? draft[field] : value;
        }
        bool all = true;
        for (std::size_t i = 0; i < conditions_.size(); ++i) {
            const bool met = holds(conditions_[i], draft);
            met_[i] = met_[i] || met;
            all = all && met;
            remember(i, draft);
        }
        return all;
    }

    Error nothing_fits(const std::vector<std::pair<std::string, std::string>>& pairs) const {
        for (std::size_t i = 0; i < conditions_.size(); ++i) {
            if (met_[i]) {
                continue;
            }
            std::string values;
            for (const std::string& value : values_[i]) {
                values += (values.empty() ? "" : ", ") + shown(value);
            }
            return make_error(
                ErrorCode::invalid_input,
                "no combination has `" + shown(pairs[i].first + "=" + pairs[i].second) + "`; `" +
                    shown(pairs[i].first) + "` is " + (values.empty() ? "not set" : values));
        }
        return make_error(ErrorCode::invalid_input,
                          "each condition fits something, but no combination fits all of them");
    }

 private:
    static constexpr std::size_t most_values = 12;

    void remember(std::size_t i, const Draft& draft) {
        const Value* value = draft[conditions_[i].field];
        if (value != nullptr && values_[i].size() < most_values &&
            std::ranges::find(values_[i], value->key) == values_[i].end()) {
            values_[i].push_back(value->key);
        }
    }

    const std::vector<Condition>& conditions_;
    std::vector<bool> met_;
    std::vector<std::vector<std::string>> values_;
};

}  // namespace

Result<CellExplanation> explain_cells(
    const ExperimentText& text,
    const std::vector<std::pair<std::string, std::string>>& conditions) {
    const std::vector<Condition> wanted = TRY(read_conditions(conditions));
    const Matrix matrix = TRY(parse_matrix(text));
    CellExplanation out;
    Seen seen(wanted);
    TRY(expand_and_tell(matrix, [&](const CellFate& fate) {
        if (!seen.check(fate.draft)) {
            return;
        }
        ++out.matching;
        if (out.cells.size() < max_explained) {
            out.cells.push_back(explained(fate, matrix.file));
        }
    }));
    if (out.cells.empty()) {
        return seen.nothing_fits(conditions);
    }
    return out;
}

}  // namespace bitsweep
