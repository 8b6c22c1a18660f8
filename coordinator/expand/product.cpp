#include <algorithm>
#include <cmath>

#include "coordinator/expand/cell_facts.h"
#include "coordinator/expand/draft.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;

// nullptr: the axis is absent here.
Result<const std::vector<Value>*> branch_of(const Matrix& matrix, const Axis& axis,
                                            const Draft& draft) {
    const CellFacts facts(draft);
    for (const Branch& branch : axis.branches) {
        const ExprValue value = TRY(evaluate(branch.when, facts.lookup(), matrix.file));
        if (std::holds_alternative<Unknown>(value)) {
            return error_at(matrix.file, branch.when.source.at,
                            "`" + std::string(to_string(axis.field)) + "` cannot branch here: " +
                                values_in_words(branch.when, facts.lookup()));
        }
        if (std::get<bool>(value)) {
            return &branch.values;
        }
    }
    return axis.otherwise ? &*axis.otherwise : static_cast<const std::vector<Value>*>(nullptr);
}

// nullptr: the axis is absent here.
Result<const std::vector<Value>*> values_of(const Matrix& matrix, const Axis& axis,
                                            const Draft& draft) {
    if (axis.is_plain()) {
        return &axis.values;
    }
    if (!axis.branches.empty()) {
        return branch_of(matrix, axis, draft);
    }
    const Value* selector = draft[*axis.by];
    const std::string key = selector != nullptr ? selector->key : "";
    for (const auto& [chosen, values] : axis.cases) {
        if (chosen.key == key) {
            return &values;
        }
    }
    if (axis.otherwise) {
        return &*axis.otherwise;
    }
    if (selector == nullptr) {
        return error_at(matrix.file, axis.at,
                        "`" + std::string(to_string(axis.field)) + "` depends on `" +
                            std::string(to_string(*axis.by)) +
                            "`, which some combinations do not have: add `else: [...]`");
    }
    return error_at(matrix.file, axis.at,
                    "`" + std::string(to_string(axis.field)) + "` says nothing for " +
                        std::string(to_string(*axis.by)) + " `" + shown(key) + "`: add `" +
                        shown(key) + ": [...]` or `else: [...]`, or take it out of `" +
                        std::string(to_string(*axis.by)) + "`");
}

Status visit_repeats(const Matrix& matrix, const Draft& draft, const Visit& visit) {
    const std::int64_t repeats = repeats_of(matrix, draft);
    for (std::int64_t i = 0; i < repeats; ++i) {
        Draft one = draft;
        one.repeat = static_cast<int>(i);
        TRY(visit(one));
    }
    return {};
}

class Product {
 public:
    Product(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
            const Visit& complete, const Visit& visit)
        : matrix_(matrix), groups_(groups), complete_(complete), visit_(visit) {}

    Status descend(std::size_t depth, const Draft& draft) {
        if (depth == groups_.size()) {
            Draft combination = draft;
            TRY(complete_(combination));
            return visit_repeats(matrix_, combination, visit_);
        }
        const AxisGroup& group = *groups_[depth];
        const std::vector<Value>* first = TRY(values_of(matrix_, group.axes[0], draft));
        if (first == nullptr) {
            return descend(depth + 1, draft);
        }
        for (std::size_t i = 0; i < first->size(); ++i) {
            Draft next = draft;
            for (const Axis& axis : group.axes) {
                // Axes that move together are plain and equally long.
                next[axis.field] = axis.is_plain() ? &axis.values[i] : &(*first)[i];
            }
            TRY(descend(depth + 1, next));
        }
        return {};
    }

 private:
    const Matrix& matrix_;
    const std::vector<const AxisGroup*>& groups_;
    const Visit& complete_;
    const Visit& visit_;
};

// ---- counting

// Whether the number of combinations below group `depth` depends on its values.
bool decides_later(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                   std::size_t depth) {
    const auto is_of_group = [&](Field field) {
        return std::ranges::any_of(groups[depth]->axes,
                                   [&](const Axis& axis) { return axis.field == field; });
    };
    if (is_of_group(Field::protocol) && !matrix.repeats) {
        return true;
    }
    for (std::size_t i = depth + 1; i < groups.size(); ++i) {
        for (const Axis& axis : groups[i]->axes) {
            if ((axis.by && is_of_group(*axis.by)) || !axis.branches.empty()) {
                return true;
            }
        }
    }
    return false;
}

Result<double> count_below(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                           std::size_t depth, const Draft& draft, double enough) {
    if (depth == groups.size()) {
        return static_cast<double>(repeats_of(matrix, draft));
    }
    const AxisGroup& group = *groups[depth];
    const std::vector<Value>* first = TRY(values_of(matrix, group.axes[0], draft));
    if (first == nullptr) {
        return count_below(matrix, groups, depth + 1, draft, enough);
    }
    if (first->empty()) {
        return 0.0;
    }
    const bool decides = decides_later(matrix, groups, depth);
    double sum = 0;
    for (std::size_t i = 0; i < first->size() && sum <= enough; ++i) {
        Draft next = draft;
        for (const Axis& axis : group.axes) {
            next[axis.field] = axis.is_plain() ? &axis.values[i] : &(*first)[i];
        }
        sum += TRY(count_below(matrix, groups, depth + 1, next, enough));
        if (!decides) {
            return sum * static_cast<double>(first->size());
        }
    }
    return sum;
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
    const auto varies = [&](Field field) {
        return std::ranges::any_of(
            out, [&](const AxisGroup* group) { return group->axes[0].field == field; });
    };
    for (const AxisGroup& group : matrix.groups) {
        const Axis& axis = group.axes[0];
        if (group.axes.size() == 1 && axis.by && (says(*axis.by) || varies(*axis.by)) &&
            !says(axis.field)) {
            out.push_back(&group);
        }
    }
    return out;
}

Status for_each_combination(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                            const Draft& base, const Visit& complete, const Visit& visit) {
    return Product(matrix, groups, complete, visit).descend(0, base);
}

Result<double> count_combinations(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                                  const Draft& base, double enough) {
    return count_below(matrix, groups, 0, base, enough);
}

}  // namespace bitsweep
