// What `exclude`, `include` and `where` do to a draft.
#include <algorithm>

#include "coordinator/expand/card_condition.h"
#include "coordinator/expand/cell_facts.h"
#include "coordinator/expand/draft.h"
#include "coordinator/expand/text.h"
#include "schemas/catalog/methods.h"

namespace bitsweep {
namespace {

using expand_text::error_at;

bool is_axis(const Matrix& matrix, Field field) {
    for (const AxisGroup& group : matrix.groups) {
        for (const Axis& axis : group.axes) {
            if (axis.field == field) {
                return true;
            }
        }
    }
    return false;
}

std::optional<double> number_of(const Value& value) {
    if (const auto* whole = std::get_if<std::int64_t>(&value.data)) {
        return static_cast<double>(*whole);
    }
    if (const auto* real = std::get_if<double>(&value.data)) {
        return *real;
    }
    return std::nullopt;
}

bool compare(Test::Kind kind, double left, double right) {
    switch (kind) {
        case Test::Kind::equal:
            return left == right;
        case Test::Kind::not_equal:
            return left != right;
        case Test::Kind::less:
            return left < right;
        case Test::Kind::less_equal:
            return left <= right;
        case Test::Kind::greater:
            return left > right;
        case Test::Kind::greater_equal:
            return left >= right;
        case Test::Kind::glob:
            break;
    }
    return false;
}

// `key` and `name`: a model given by path matches by its name too.
bool passes(const Test& test, std::optional<double> number, const std::string& key,
            const std::string& name) {
    if (test.kind == Test::Kind::glob) {
        return expand_text::glob_matches(test.glob, key) ||
               (!name.empty() && expand_text::glob_matches(test.glob, name));
    }
    return number && compare(test.kind, *number, test.number);
}

}  // namespace

bool holds(const Condition& condition, const Draft& draft) {
    std::string key;
    std::string name;
    std::optional<double> number;
    const Value* value = draft[condition.field];
    if (condition.field == Field::repeat) {
        key = std::to_string(draft.repeat);
        number = draft.repeat;
    } else if (condition.field == Field::bits && value == nullptr) {
        const Result<MethodId> id = draft[Field::method] != nullptr
                                        ? parse_method(draft[Field::method]->key)
                                        : Result<MethodId>(Error{});
        if (!id) {
            return false;
        }
        key = std::to_string(id->weight_bits);
        number = id->weight_bits;
    } else if (value == nullptr) {
        return false;
    } else {
        key = value->key;
        number = number_of(*value);
        if (const auto* model = std::get_if<ModelValue>(&value->data)) {
            name = model->name;
        }
    }
    return std::ranges::any_of(condition.any_of,
                               [&](const Test& test) { return passes(test, number, key, name); });
}

namespace {

Status refuse_kind_of_template(const Matrix& matrix, const Condition& condition,
                               const Draft& draft) {
    const Value* gpu = draft[Field::gpu];
    if (condition.field != Field::gpu || gpu == nullptr || gpu->key != "*") {
        return {};
    }
    return error_at(
        matrix.file, condition.at,
        "the kinds of `gpu: {each: any}` are known only when they attach, so they cannot "
        "be excluded: list the kinds under `gpu`");
}

}  // namespace

Result<const Exclude*> exclusion_of(const Matrix& matrix, const Draft& draft,
                                    std::vector<bool>& used) {
    const Exclude* first = nullptr;
    for (std::size_t i = 0; i < matrix.excludes.size(); ++i) {
        const Exclude& rule = matrix.excludes[i];
        for (const Condition& condition : rule.all_of) {
            TRY(refuse_kind_of_template(matrix, condition, draft));
        }
        if (std::ranges::all_of(rule.all_of, [&](const Condition& c) { return holds(c, draft); })) {
            used[i] = true;
            first = first == nullptr ? &rule : first;
        }
    }
    return first;
}

Result<const Where*> condition_failed_by(const Matrix& matrix, const Draft& draft, Notes& notes,
                                         std::string& left) {
    const CellFacts facts(draft);
    const Value* gpu = draft[Field::gpu];
    const bool is_template = gpu != nullptr && gpu->key == "*";
    for (const Where& where : matrix.wheres) {
        const ExprValue value = TRY(evaluate(where.expression, facts.lookup(), matrix.file));
        if (!std::holds_alternative<Unknown>(value)) {
            if (!std::get<bool>(value)) {
                return &where;
            }
            continue;
        }
        const std::string for_the_card =
            is_template
                ? left_to_the_card(where.expression, facts.lookup(), matrix.derives, matrix.file)
                : "";
        if (!for_the_card.empty()) {
            left = both_conditions(left, for_the_card);
            notes.count("decided by `where` in " + expand_text::line_of(where.at) +
                        " when a card attaches");
        } else {
            notes.count("kept although `where` in " + expand_text::line_of(where.at) +
                        " cannot tell: not known is " +
                        unknown_in_words(where.expression, facts.lookup()));
        }
    }
    return static_cast<const Where*>(nullptr);
}

void extend_by_includes(const Matrix& matrix, Draft& draft, std::vector<bool>& used) {
    const Draft original = draft;
    for (std::size_t i = 0; i < matrix.includes.size(); ++i) {
        const Include& include = matrix.includes[i];
        // A value of the matrix is never overwritten; a value that an earlier include added may be.
        const bool fits = std::ranges::all_of(include.values, [&](const FieldValue& said) {
            const Value* before = original[said.field];
            return !is_axis(matrix, said.field) ||
                   (before != nullptr && before->key == said.value.key);
        });
        if (!fits) {
            continue;
        }
        used[i] = true;
        for (const FieldValue& said : include.values) {
            draft[said.field] = &said.value;
        }
    }
}

}  // namespace bitsweep
