// `matrix`, `zip` and `defaults`.
#include <algorithm>
#include <array>

#include "coordinator/expand/fields.h"
#include "coordinator/expand/readers.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;
using yaml::Kind;
using yaml::Node;

// The axis of which most keys are values; the nearest one on the left wins a tie.
const Axis* controller_of(const Node& map, const std::vector<AxisGroup>& before) {
    const Axis* best = nullptr;
    std::size_t best_count = 0;
    for (const AxisGroup& group : before) {
        for (const Axis& axis : group.axes) {
            const auto count = static_cast<std::size_t>(std::ranges::count_if(
                map.entries,
                [&](const yaml::Entry& entry) { return may_take(axis, entry.key.text); }));
            if (count > 0 && count >= best_count) {
                best = &axis;
                best_count = count;
            }
        }
    }
    return best;
}

Result<Axis> read_dependent(Field field, const Node& key, const Node& map,
                            const std::vector<AxisGroup>& before, const Files& file) {
    Axis axis;
    axis.field = field;
    axis.at = key.at;
    if (map.entries.empty()) {
        return error_at(file, map.at, "`" + key.text + "` has no values");
    }
    const Axis* by = controller_of(map, before);
    if (by == nullptr) {
        return error_at(
            file, map.at,
            "`" + key.text +
                "` depends on an axis that is not above it: none of its "
                "keys (`" +
                shown(map.entries[0].key.text) + "`, ...) is a value of an axis that stands above" +
                (map.at.line == 0
                     ? "; quote a text that has `: ` in it, such as "
                       "--set '" +
                           key.text + "=\"" + shown(map.entries[0].key.text) + ": ...\"'"
                     : ""));
    }
    axis.by = by->field;
    for (const auto& [selector, values] : map.entries) {
        if (selector.text == "else") {
            axis.otherwise = TRY(read_values(field, values, file));
            continue;
        }
        Value chosen = TRY(read_value(by->field, selector, file));
        axis.cases.emplace_back(std::move(chosen), TRY(read_values(field, values, file)));
    }
    return axis;
}

// ---- conditional axes

bool is_conditional(const Node& node) {
    const auto has_when = [](const Node& one) { return one.find("when") != nullptr; };
    return has_when(node) ||
           (node.kind == Kind::list && !node.items.empty() && has_when(node.items[0]));
}

// {when, values}; `else` of the only one, or {else: [...]} at the end of a list.
Result<Axis> read_conditional(Field field, const Node& key, const Node& node, const Files& file) {
    static constexpr std::array<std::string_view, 3> keys = {"when", "values", "else"};
    Axis axis;
    axis.field = field;
    axis.at = key.at;
    const std::vector<Node> one = {node};
    for (const Node& item : node.kind == Kind::list ? node.items : one) {
        TRY(want_kind(item, Kind::map, key.text, file));
        TRY(check_keys(item, keys, file));
        const Node* when = item.find("when");
        const Node* values = item.find("values");
        const Node* otherwise = item.find("else");
        if (axis.otherwise) {
            return error_at(file, item.at, "`else` ends the list: nothing is tried after it");
        }
        if ((when == nullptr) != (values == nullptr) || (when == nullptr && otherwise == nullptr)) {
            return error_at(file, item.at,
                            "a conditional axis is {when: CONDITION, values: [...]}, and `else` "
                            "for what is left");
        }
        if (when != nullptr) {
            Branch branch;
            branch.when = TRY(read_expression(*when, {}, file));
            if (branch.when.type() != ExprType::truth) {
                return error_at(file, when->at,
                                "`when` must be a condition such as `params < 1e9`, not " +
                                    std::string(to_string(branch.when.type())));
            }
            branch.values = TRY(read_values(field, *values, file));
            axis.branches.push_back(std::move(branch));
        }
        if (otherwise != nullptr) {
            axis.otherwise = TRY(read_values(field, *otherwise, file));
        }
    }
    return axis;
}

Result<Axis> read_axis(Field field, const Node& key, const Node& node, const Matrix& matrix) {
    if (is_conditional(node)) {
        return read_conditional(field, key, node, matrix.file);
    }
    if (is_dependent(field, node)) {
        return read_dependent(field, key, node, matrix.groups, matrix.file);
    }
    Axis axis;
    axis.field = field;
    axis.at = key.at;
    axis.values = TRY(read_values(field, node, matrix.file));
    return axis;
}

Status read_repeat(const Node& node, const Files& file, Matrix& matrix) {
    if (node.kind != Kind::scalar) {
        return error_at(
            file, node.at,
            "`repeat` is a count, such as `repeat: 3`, not " + std::string(describe(node)));
    }
    matrix.repeats = TRY(read_integer("repeat", node, 1, field_row(Field::repeat).most, file));
    return {};
}

Status refuse_second(const Matrix& matrix, Field field, At at) {
    for (const AxisGroup& group : matrix.groups) {
        for (const Axis& axis : group.axes) {
            if (axis.field == field) {
                return error_at(matrix.file, at,
                                "`" + std::string(to_string(field)) + "` is an axis already, in " +
                                    expand_text::line_of(axis.at));
            }
        }
    }
    return {};
}

}  // namespace

Status want_kind(const Node& node, Kind kind, const std::string& name, const Files& file) {
    if (node.kind == kind) {
        return {};
    }
    const std::string want = kind == Kind::map ? "a map" : "a list";
    return error_at(file, node.at,
                    "`" + name + "` must be " + want + ", not " + std::string(describe(node)));
}

Status read_matrix_axes(const Node& node, Matrix& matrix) {
    const Files& file = matrix.file;
    TRY(want_kind(node, Kind::map, "matrix", file));
    matrix.matrix_at = node.at;
    for (const auto& [key, values] : node.entries) {
        const Field field = TRY(read_field_name(key, file));
        if (field == Field::repeat) {
            TRY(read_repeat(values, file, matrix));
            continue;
        }
        AxisGroup group;
        group.at = key.at;
        group.axes.push_back(TRY(read_axis(field, key, values, matrix)));
        matrix.groups.push_back(std::move(group));
    }
    return {};
}

Status read_zip(const Node& node, Matrix& matrix) {
    const Files& file = matrix.file;
    TRY(want_kind(node, Kind::list, "zip", file));
    for (const Node& item : node.items) {
        TRY(want_kind(item, Kind::map, "zip", file));
        AxisGroup group;
        group.at = item.at;
        for (const auto& [key, values] : item.entries) {
            const Field field = TRY(read_field_name(key, file));
            TRY(refuse_second(matrix, field, key.at));
            if (is_conditional(values) || is_dependent(field, values) || field == Field::repeat) {
                return error_at(file, key.at,
                                "`" + key.text +
                                    "` cannot move with other axes: "
                                    "zip takes lists of values");
            }
            Axis axis;
            axis.field = field;
            axis.at = key.at;
            axis.values = TRY(read_values(field, values, file));
            if (!group.axes.empty() && axis.values.size() != group.axes[0].values.size()) {
                return error_at(file, values.at,
                                "`" + key.text + "` has " + std::to_string(axis.values.size()) +
                                    " values and `" + std::string(to_string(group.axes[0].field)) +
                                    "` has " + std::to_string(group.axes[0].values.size()) +
                                    ": axes that move together have equally many");
            }
            group.axes.push_back(std::move(axis));
        }
        if (!group.axes.empty()) {
            matrix.groups.push_back(std::move(group));
        }
    }
    return {};
}

Status read_defaults(const Node& node, Matrix& matrix) {
    TRY(want_kind(node, Kind::map, "defaults", matrix.file));
    for (const auto& [key, value] : node.entries) {
        const Field field = TRY(read_field_name(key, matrix.file));
        if (field == Field::repeat) {
            TRY(read_repeat(value, matrix.file, matrix));
            continue;
        }
        std::vector<Value> values = TRY(read_values(field, value, matrix.file));
        if (values.size() != 1 || value.kind == Kind::list) {
            return error_at(
                matrix.file, value.at,
                "a default is one value: put the list of `" + key.text + "` under `matrix`");
        }
        matrix.defaults.push_back({field, std::move(values[0])});
    }
    return {};
}

namespace {

bool has_axis(const AxisGroup& group, Field field) {
    return std::ranges::any_of(group.axes, [&](const Axis& a) { return a.field == field; });
}

// Which fields a name reads here: the bits of a method that says them are the method's.
std::vector<Field> fields_read(const Name& name, const Matrix& matrix) {
    const std::span<const Field> behind = fields_behind(name);
    std::vector<Field> out(behind.begin(), behind.end());
    const bool bits_said = std::ranges::any_of(
        matrix.groups, [](const AxisGroup& group) { return has_axis(group, Field::bits); });
    if (name.fact == Fact::field && name.field == Field::bits && !bits_said) {
        out.push_back(Field::method);
    }
    return out;
}

Status check_branch(const Matrix& matrix, std::size_t index, const Axis& axis,
                    const Expression& when) {
    const auto wrong = [&](const ExprNode& node, const std::string& why) {
        return error_at(matrix.file, yaml::place_in(when.source, node.offset),
                        "`" + node.text + "` is not known yet where `" +
                            std::string(to_string(axis.field)) + "` branches: " + why);
    };
    for (const ExprNode& node : when.nodes) {
        if (node.op != ExprOp::name && node.op != ExprOp::known) {
            continue;
        }
        for (const Field field : fields_read(node.name, matrix)) {
            const std::string name = "`" + std::string(to_string(field)) + "`";
            if (field == Field::repeat) {
                return wrong(node, "repeats come last");
            }
            for (const Derive& derive : matrix.derives) {
                if (derive.field == field) {
                    return wrong(node, name + " is derived after the axes");
                }
            }
            for (std::size_t i = index; i < matrix.groups.size(); ++i) {
                if (has_axis(matrix.groups[i], field)) {
                    return wrong(node, i == index ? "it cannot depend on itself"
                                                  : "move the axis " + name + " above it");
                }
            }
        }
    }
    return {};
}

}  // namespace

Status check_branches(const Matrix& matrix) {
    for (std::size_t i = 0; i < matrix.groups.size(); ++i) {
        for (const Axis& axis : matrix.groups[i].axes) {
            for (const Branch& branch : axis.branches) {
                TRY(check_branch(matrix, i, axis, branch.when));
            }
        }
    }
    return {};
}

}  // namespace bitsweep
