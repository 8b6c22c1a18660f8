#include <algorithm>
#include <cmath>

#include "coordinator/expand/cell_facts.h"
#include "coordinator/expand/draft.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/text.h"

namespace bitsweep {

Result<const Value*> DerivedValues::value_of(const Derive& derive, const ExprValue& result) {
    yaml::Node node = derive.expression.source;
    node.kind = yaml::Kind::scalar;
    node.quoted = false;
    if (const auto* number = std::get_if<double>(&result)) {
        // Twelve digits, as in ranges: a derived value is part of a key.
        node.text = expand_text::number_text(expand_text::twelve_digits(*number));
    } else if (const auto* truth = std::get_if<bool>(&result)) {
        node.text = *truth ? "true" : "false";
    } else {
        node.text = std::get<std::string>(result);
    }
    std::unique_ptr<Value>& slot = values_[{*derive.field, node.text}];
    if (slot == nullptr) {
        slot = std::make_unique<Value>(TRY(read_value(*derive.field, node, matrix_.file)));
    }
    return slot.get();
}

Status DerivedValues::apply(Draft& draft, std::span<const FieldValue> keep) {
    if (matrix_.derives.empty()) {
        return {};
    }
    auto named = std::make_shared<std::vector<ExprValue>>(matrix_.derived_names.size());
    draft.derived = named;
    const CellFacts facts(draft);
    for (const Derive& derive : matrix_.derives) {
        const bool said = derive.field && std::ranges::any_of(keep, [&](const FieldValue& one) {
                              return one.field == *derive.field;
                          });
        if (said) {
            continue;
        }
        ExprValue result = TRY(evaluate(derive.expression, facts.lookup(), matrix_.file));
        if (!derive.field) {
            (*named)[derive.index] = std::move(result);
            continue;
        }
        if (std::holds_alternative<Unknown>(result)) {
            return expand_text::error_at(matrix_.file, derive.expression.source.at,
                                         "`" + derive.name +
                                             "` cannot be derived for every cell: " +
                                             values_in_words(derive.expression, facts.lookup()));
        }
        draft[*derive.field] = TRY(value_of(derive, result));
    }
    return {};
}

}  // namespace bitsweep
