#include <algorithm>
#include <cmath>

#include "coordinator/expand/draft.h"
#include "coordinator/expand/text.h"
#include "schemas/catalog/methods.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;

const Axis* find_axis(const Matrix& matrix, Field field) {
    for (const AxisGroup& group : matrix.groups) {
        for (const Axis& axis : group.axes) {
            if (axis.field == field) {
                return &axis;
            }
        }
    }
    return nullptr;
}

Result<const std::vector<Value>*> values_of(const Matrix& matrix, const Axis& axis,
                                            const Draft& draft) {
    if (!axis.by) {
        return &axis.values;
    }
    const Value* selector = draft[*axis.by];
    const std::string key = selector != nullptr ? selector->key : "";
    for (const auto& [chosen, values] : axis.cases) {
        if (chosen.key == key) {
            return &values;
        }
    }
    return error_at(matrix.file, axis.at,
                    "`" + std::string(to_string(axis.field)) + "` says nothing for " +
                        std::string(to_string(*axis.by)) + " `" + shown(key) + "`: add `" +
                        shown(key) + ": [...]`, or take it out of `" +
                        std::string(to_string(*axis.by)) + "`");
}

Status visit_repeats(const Matrix& matrix, Draft& draft,
                     const std::function<Status(Draft&)>& visit) {
    const std::int64_t repeats = repeats_of(matrix, draft);
    for (std::int64_t i = 0; i < repeats; ++i) {
        Draft one = draft;
        one.repeat = static_cast<int>(i);
        TRY(visit(one));
    }
    return {};
}

Status descend(const Matrix& matrix, const std::vector<const AxisGroup*>& groups, std::size_t depth,
               const Draft& draft, const std::function<Status(Draft&)>& visit) {
    if (depth == groups.size()) {
        Draft complete = draft;
        return visit_repeats(matrix, complete, visit);
    }
    const AxisGroup& group = *groups[depth];
    const std::size_t count = TRY(values_of(matrix, group.axes[0], draft))->size();
    for (std::size_t i = 0; i < count; ++i) {
        Draft next = draft;
        for (const Axis& axis : group.axes) {
            next[axis.field] = &(*TRY(values_of(matrix, axis, draft)))[i];
        }
        TRY(descend(matrix, groups, depth + 1, next, visit));
    }
    return {};
}

// ---- conditions

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

std::int64_t repeats_of(const Matrix& matrix, const Draft& draft) {
    if (matrix.repeats) {
        return *matrix.repeats;
    }
    const Value* protocol = draft[Field::protocol];
    const std::string word = protocol != nullptr ? protocol->key : "standard";
    return word == "headline" ? 5 : word == "standard" ? 3 : 1;
}

std::vector<const AxisGroup*> all_groups(const Matrix& matrix) {
    std::vector<const AxisGroup*> out;
    for (const AxisGroup& group : matrix.groups) {
        out.push_back(&group);
    }
    return out;
}

std::vector<const AxisGroup*> groups_left_by(const Matrix& matrix, const Include& include) {
    const auto says = [&](Field field) {
        return std::ranges::any_of(include.values,
                                   [&](const FieldValue& value) { return value.field == field; });
    };
    std::vector<const AxisGroup*> out;
    for (const AxisGroup& group : matrix.groups) {
        const Axis& axis = group.axes[0];
        if (group.axes.size() == 1 && axis.by && says(*axis.by) && !says(axis.field)) {
            out.push_back(&group);
        }
    }
    return out;
}

Status for_each_combination(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                            const Draft& base, const std::function<Status(Draft&)>& visit) {
    return descend(matrix, groups, 0, base, visit);
}

Result<bool> is_excluded(const Matrix& matrix, const Draft& draft, std::vector<bool>& used) {
    bool excluded = false;
    for (std::size_t i = 0; i < matrix.excludes.size(); ++i) {
        const Exclude& rule = matrix.excludes[i];
        for (const Condition& condition : rule.all_of) {
            TRY(refuse_kind_of_template(matrix, condition, draft));
        }
        if (std::ranges::all_of(rule.all_of, [&](const Condition& c) { return holds(c, draft); })) {
            used[i] = true;
            excluded = true;
        }
    }
    return excluded;
}

void extend_by_includes(const Matrix& matrix, Draft& draft, std::vector<bool>& used) {
    const Draft original = draft;
    for (std::size_t i = 0; i < matrix.includes.size(); ++i) {
        const Include& include = matrix.includes[i];
        // A value of the matrix is never overwritten; a value that an earlier include added may be.
        const bool fits = std::ranges::all_of(include.values, [&](const FieldValue& said) {
            const Value* before = original[said.field];
            return find_axis(matrix, said.field) == nullptr ||
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
