// `exclude`, `include`, `where` and `derive`.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/expand/expression_names.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/readers.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;
using yaml::Kind;
using yaml::Node;

// ---- exclude and include

struct Operator {
    std::string_view sign;
    Test::Kind kind;
};
// Longer signs first.
constexpr std::array<Operator, 6> operators = {{{">=", Test::Kind::greater_equal},
                                                {"<=", Test::Kind::less_equal},
                                                {"!=", Test::Kind::not_equal},
                                                {"==", Test::Kind::equal},
                                                {">", Test::Kind::greater},
                                                {"<", Test::Kind::less}}};

Result<Test> read_comparison(Field field, const Node& node, const Operator& op, const Files& file) {
    const FieldType type = field_row(field).type;
    if (type != FieldType::integer && type != FieldType::number) {
        return error_at(file, node.at,
                        "`" + std::string(to_string(field)) +
                            "` is no number and cannot be compared: use a pattern "
                            "such as llama-*");
    }
    std::string_view rest = std::string_view(node.text).substr(op.sign.size());
    while (rest.starts_with(' ')) {
        rest.remove_prefix(1);
    }
    Test test;
    test.kind = op.kind;
    test.at = node.at;
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), test.number);
    const bool number = !rest.empty() && parsed.ec == std::errc{} &&
                        parsed.ptr == rest.data() + rest.size() && std::isfinite(test.number);
    if (!number) {
        return error_at(file, node.at,
                        "`" + shown(node.text) +
                            "` compares with no number: write "
                            "`\"" +
                            std::string(op.sign) + "16\"`");
    }
    return test;
}

// A pattern, a comparison, or a value that the field can have.
Result<Test> read_test(Field field, const Node& node, const Files& file) {
    if (node.kind == Kind::scalar) {
        for (const Operator& op : operators) {
            if (node.text.starts_with(op.sign)) {
                return read_comparison(field, node, op, file);
            }
        }
    }
    Test test;
    test.at = node.at;
    const bool pattern =
        node.kind == Kind::scalar && node.text.find_first_of("*?") != std::string::npos;
    test.glob = pattern ? node.text : TRY(read_value(field, node, file)).key;
    return test;
}

}  // namespace

Result<Condition> read_condition(const Node& key, const Node& node, const Files& file) {
    Condition condition;
    condition.field = TRY(read_field_name(key, file));
    condition.at = key.at;
    // Indexes of repetitions start at 0, the count is at least 1: compare them as numbers.
    if (condition.field == Field::repeat && node.kind == Kind::scalar && !node.quoted) {
        Test test;
        test.kind = Test::Kind::equal;
        test.at = node.at;
        test.number = static_cast<double>(TRY(read_integer("repeat", node, 0, 999, file)));
        condition.any_of.push_back(test);
        return condition;
    }
    if (node.kind != Kind::list) {
        condition.any_of.push_back(TRY(read_test(condition.field, node, file)));
        return condition;
    }
    for (const Node& item : node.items) {
        condition.any_of.push_back(TRY(read_test(condition.field, item, file)));
    }
    return condition;
}

Status read_exclude(const Node& node, Matrix& matrix) {
    TRY(want_kind(node, Kind::list, "exclude", matrix.file));
    for (const Node& item : node.items) {
        TRY(want_kind(item, Kind::map, "exclude", matrix.file));
        Exclude exclude;
        exclude.at = item.at;
        for (const auto& [key, value] : item.entries) {
            exclude.all_of.push_back(TRY(read_condition(key, value, matrix.file)));
        }
        if (exclude.all_of.empty()) {
            return error_at(matrix.file, item.at,
                            "this exclusion names no axis and would remove every cell");
        }
        matrix.excludes.push_back(std::move(exclude));
    }
    return {};
}

Status read_include(const Node& node, Matrix& matrix) {
    TRY(want_kind(node, Kind::list, "include", matrix.file));
    for (const Node& item : node.items) {
        TRY(want_kind(item, Kind::map, "include", matrix.file));
        Include include;
        include.at = item.at;
        for (const auto& [key, value] : item.entries) {
            const Field field = TRY(read_field_name(key, matrix.file));
            if (field == Field::repeat) {
                return error_at(matrix.file, key.at,
                                "`repeat` is a count for the whole matrix: it cannot be included");
            }
            std::vector<Value> values = TRY(read_values(field, value, matrix.file));
            if (values.size() != 1) {
                return error_at(matrix.file, value.at,
                                "an included cell has one value for `" + key.text +
                                    "`: write one entry for each");
            }
            include.values.push_back({field, std::move(values[0])});
        }
        if (include.values.empty()) {
            return error_at(matrix.file, item.at, "this inclusion names no field");
        }
        matrix.includes.push_back(std::move(include));
    }
    return {};
}

namespace {

Status read_one_where(const Node& node, Matrix& matrix) {
    Where where;
    where.at = node.at;
    where.expression = TRY(read_expression(node, matrix.derived_names, matrix.file));
    if (where.expression.type() != ExprType::truth) {
        return error_at(matrix.file, node.at,
                        "`where` must be a condition such as `params < 1e9`, not " +
                            std::string(to_string(where.expression.type())));
    }
    matrix.wheres.push_back(std::move(where));
    return {};
}

// Axes and repeats are settled before anything is derived.
Status check_derived_field(Field field, const Node& key, const Matrix& matrix) {
    const std::string name = "`" + key.text + "`";
    if (field == Field::repeat || !expression_type(field)) {
        return error_at(matrix.file, key.at, name + " cannot be derived: it is no single value");
    }
    for (const AxisGroup& group : matrix.groups) {
        for (const Axis& axis : group.axes) {
            if (axis.field == field) {
                return error_at(matrix.file, key.at,
                                name + " is an axis, in " + expand_text::line_of(axis.at) +
                                    ": a derived value would replace all of its values");
            }
        }
    }
    return {};
}

Status check_derived_name(const Node& key, const Matrix& matrix) {
    const std::string& name = key.text;
    const bool plain = !name.empty() && name.size() <= 64 && name[0] >= 'a' && name[0] <= 'z' &&
                       std::ranges::all_of(name, [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
                       });
    if (!plain) {
        return error_at(matrix.file, key.at,
                        "`" + shown(name) + "` cannot name a derived value: use a-z 0-9 _");
    }
    const std::vector<std::string_view> names = expression_names();
    const std::vector<std::string_view> functions = expression_functions();
    if (std::ranges::find(names, name) != names.end() ||
        std::ranges::find(functions, name) != functions.end()) {
        return error_at(matrix.file, key.at,
                        "`" + name +
                            "` means something already: give the derived value its own "
                            "name");
    }
    return {};
}

Status refuse_repeat(const Expression& expression, const Files& file) {
    for (const ExprNode& node : expression.nodes) {
        if (node.op == ExprOp::name && node.name.fact == Fact::field &&
            node.name.field == Field::repeat) {
            return error_at(file, yaml::place_in(expression.source, node.offset),
                            "`repeat` is not known yet: values are derived once for all repeats");
        }
    }
    return {};
}

}  // namespace

Status read_where(const Node& node, Matrix& matrix) {
    if (node.kind != Kind::list) {
        return read_one_where(node, matrix);
    }
    for (const Node& item : node.items) {
        TRY(read_one_where(item, matrix));
    }
    return {};
}

Status read_derive(const Node& node, Matrix& matrix) {
    TRY(want_kind(node, Kind::map, "derive", matrix.file));
    for (const auto& [key, value] : node.entries) {
        Derive derive;
        derive.at = key.at;
        derive.name = key.text;
        derive.field = field_from_string(key.text);
        if (derive.field) {
            TRY(check_derived_field(*derive.field, key, matrix));
        } else {
            TRY(check_derived_name(key, matrix));
        }
        derive.expression = TRY(read_expression(value, matrix.derived_names, matrix.file));
        TRY(refuse_repeat(derive.expression, matrix.file));
        const ExprType type = derive.expression.type();
        if (derive.field && *expression_type(*derive.field) != type) {
            return error_at(matrix.file, value.at,
                            "`" + key.text + "` is " +
                                std::string(to_string(*expression_type(*derive.field))) + ", not " +
                                std::string(to_string(type)));
        }
        if (!derive.field) {
            derive.index = matrix.derived_names.size();
            matrix.derived_names.push_back({derive.name, type});
        }
        matrix.derives.push_back(std::move(derive));
    }
    return {};
}

}  // namespace bitsweep
