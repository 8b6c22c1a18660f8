// yaml::Node -> Matrix: the keys of an experiment file, each with its reader.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/expand/expand.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/overrides.h"
#include "coordinator/expand/text.h"
#include "coordinator/expand/yaml_node.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;
using yaml::Kind;
using yaml::Node;

Status want_kind(const Node& node, Kind kind, const std::string& name, const std::string& file) {
    if (node.kind == kind) {
        return {};
    }
    const std::string want = kind == Kind::map ? "a map" : "a list";
    return error_at(file, node.at,
                    "`" + name + "` must be " + want + ", not " + std::string(describe(node)));
}

// ---- axes

// The axis of which most keys are values; the nearest one on the left wins a tie.
const Axis* controller_of(const Node& map, const std::vector<AxisGroup>& before) {
    const Axis* best = nullptr;
    std::size_t best_count = 0;
    for (const AxisGroup& group : before) {
        for (const Axis& axis : group.axes) {
            std::size_t count = 0;
            for (const auto& [key, value] : map.entries) {
                count += static_cast<std::size_t>(std::ranges::any_of(
                    axis.values, [&](const Value& one) { return one.key == key.text; }));
            }
            if (count > 0 && count >= best_count) {
                best = &axis;
                best_count = count;
            }
        }
    }
    return best;
}

Result<Axis> read_dependent(Field field, const Node& key, const Node& map,
                            const std::vector<AxisGroup>& before, const std::string& file) {
    Axis axis;
    axis.field = field;
    axis.at = key.at;
    if (map.entries.empty()) {
        return error_at(file, map.at, "`" + key.text + "` has no values");
    }
    const Axis* by = controller_of(map, before);
    if (by == nullptr) {
        return error_at(file, map.at,
                        "`" + key.text +
                            "` depends on an axis that is not above it: none of its "
                            "keys (`" +
                            shown(map.entries[0].first.text) +
                            "`, ...) is a value of an axis that stands above");
    }
    axis.by = by->field;
    for (const auto& [selector, values] : map.entries) {
        Value chosen = TRY(read_value(by->field, selector, file));
        axis.cases.emplace_back(std::move(chosen), TRY(read_values(field, values, file)));
    }
    return axis;
}

Status read_repeat(const Node& node, const std::string& file, Matrix& matrix) {
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
                                "`" + std::string(to_string(field)) +
                                    "` is an axis already, in line " +
                                    std::to_string(axis.at.line));
            }
        }
    }
    return {};
}

Status read_matrix_axes(const Node& node, Matrix& matrix) {
    const std::string& file = matrix.file;
    TRY(want_kind(node, Kind::map, "matrix", file));
    matrix.matrix_at = node.at;
    for (const auto& [key, values] : node.entries) {
        const Field field = TRY(read_field_name(key, file));
        if (field == Field::repeat) {
            TRY(read_repeat(values, file, matrix));
            continue;
        }
        Axis axis;
        if (is_dependent(field, values)) {
            axis = TRY(read_dependent(field, key, values, matrix.groups, file));
        } else {
            axis.field = field;
            axis.at = key.at;
            axis.values = TRY(read_values(field, values, file));
        }
        AxisGroup group;
        group.at = key.at;
        group.axes.push_back(std::move(axis));
        matrix.groups.push_back(std::move(group));
    }
    return {};
}

Status read_zip(const Node& node, Matrix& matrix) {
    const std::string& file = matrix.file;
    TRY(want_kind(node, Kind::list, "zip", file));
    for (const Node& item : node.items) {
        TRY(want_kind(item, Kind::map, "zip", file));
        AxisGroup group;
        group.at = item.at;
        for (const auto& [key, values] : item.entries) {
            const Field field = TRY(read_field_name(key, file));
            TRY(refuse_second(matrix, field, key.at));
            if (is_dependent(field, values) || field == Field::repeat) {
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

Result<Test> read_comparison(Field field, const Node& node, const Operator& op,
                             const std::string& file) {
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
Result<Test> read_test(Field field, const Node& node, const std::string& file) {
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

Result<Condition> read_condition(const Node& key, const Node& node, const std::string& file) {
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

// ---- the rest of the keys

Status read_order(const Node& node, Matrix& matrix) {
    const std::string text = TRY(read_text("order", node, 128, matrix.file));
    static constexpr std::string_view head = "interleave(";
    if (text == "shuffled" || text == "listed") {
        matrix.order = text == "listed" ? OrderKind::listed : OrderKind::shuffled;
        return {};
    }
    if (text.starts_with(head) && text.ends_with(")")) {
        Node name = node;
        name.text = text.substr(head.size(), text.size() - head.size() - 1);
        matrix.order = OrderKind::interleaved;
        matrix.interleave = TRY(read_field_name(name, matrix.file));
        return {};
    }
    return error_at(matrix.file, node.at,
                    "`order` must be `shuffled`, `listed` or "
                    "`interleave(axis)`, not `" +
                        shown(text) + "`");
}

Status read_retries(const Node& node, Matrix& matrix) {
    static constexpr std::array<std::string_view, 2> keys = {"crash", "fail"};
    TRY(want_kind(node, Kind::map, "retries", matrix.file));
    TRY(check_keys(node, keys, matrix.file));
    if (const Node* crash = node.find("crash")) {
        matrix.policy.retries_crash =
            static_cast<int>(TRY(read_integer("crash", *crash, 0, 1000, matrix.file)));
    }
    if (const Node* fail = node.find("fail")) {
        matrix.policy.retries_fail =
            static_cast<int>(TRY(read_integer("fail", *fail, 0, 1000, matrix.file)));
    }
    return {};
}

Status read_timeout(const Node& node, Matrix& matrix) {
    const std::string text = TRY(read_text("timeout", node, 32, matrix.file));
    struct Unit {
        char letter;
        std::int64_t ms;
    };
    static constexpr std::array<Unit, 4> units = {
        {{'s', 1000}, {'m', 60'000}, {'h', 3'600'000}, {'d', 86'400'000}}};
    constexpr std::int64_t week_ms = 7 * std::int64_t{86'400'000};
    std::int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    for (const Unit& unit : units) {
        const bool fits = parsed.ec == std::errc{} && parsed.ptr + 1 == end &&
                          *parsed.ptr == unit.letter && number > 0 && number <= week_ms / unit.ms;
        if (fits) {
            matrix.policy.timeout = Duration{number * unit.ms};
            return {};
        }
    }
    return error_at(matrix.file, node.at,
                    "`timeout` must be a whole number and a unit, 1s to 7d, "
                    "such as 90s, 10m or 2h, not `" +
                        shown(text) + "`");
}

Status read_tags(const Node& node, Matrix& matrix) {
    TRY(want_kind(node, Kind::map, "tags", matrix.file));
    if (node.entries.size() > 100) {
        return error_at(matrix.file, node.at, "more than 100 tags");
    }
    for (const auto& [key, value] : node.entries) {
        if (key.text.empty() || key.text.size() > 128) {
            return error_at(matrix.file, key.at, "a tag's name has 1 to 128 bytes");
        }
        matrix.tags.emplace_back(key.text, TRY(read_text(key.text, value, 1024, matrix.file)));
    }
    return {};
}

Status read_name(const Node& node, Matrix& matrix) {
    matrix.experiment = TRY(read_text("experiment", node, 128, matrix.file));
    const std::string& name = matrix.experiment;
    const bool plain =
        !name.empty() && name[0] != '.' && name[0] != '-' && std::ranges::all_of(name, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '.' || c == '_' || c == '-';
        });
    if (!plain) {
        return error_at(matrix.file, node.at,
                        "`" + shown(name) +
                            "` cannot name an experiment: use A-Z a-z 0-9 . _ - "
                            "and begin with a letter or digit");
    }
    return {};
}

Status read_later(const Node& key, const std::string& file) {
    return error_at(file, key.at,
                    "`" + key.text +
                        "` is not in this build yet: write the values out "
                        "under `matrix`, or remove cells with `exclude`");
}

// ---- the table of top-level keys

using Reader = Status (*)(const Node& node, Matrix& matrix);
struct Key {
    std::string_view name;
    Reader read;  // nullptr: not in this build
};

template <std::size_t Most>
Result<std::string> text_of(const char* name, const Node& node, const Matrix& matrix) {
    return read_text(name, node, Most, matrix.file);
}

constexpr std::array<Key, 18> top_keys = {{
    {"experiment", read_name},
    {"question",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.question = TRY(text_of<4096>("question", node, matrix));
         return {};
     }},
    {"hypothesis",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.hypothesis = TRY(text_of<4096>("hypothesis", node, matrix));
         return {};
     }},
    {"jobs",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.jobs = TRY(read_integer("jobs", node, 1, max_cells, matrix.file));
         return {};
     }},
    {"cost",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.cost = TRY(text_of<4096>("cost", node, matrix));
         return {};
     }},
    {"defaults", read_defaults},
    {"matrix", read_matrix_axes},
    {"zip", read_zip},
    {"exclude", read_exclude},
    {"include", read_include},
    {"where", nullptr},
    {"derive", nullptr},
    {"order", read_order},
    {"priority",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.policy.priority =
             static_cast<int>(TRY(read_integer("priority", node, -1000, 1000, matrix.file)));
         return {};
     }},
    {"retries", read_retries},
    {"timeout", read_timeout},
    {"max_fails",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.max_fails = TRY(read_integer("max_fails", node, 1, max_cells, matrix.file));
         return {};
     }},
    {"tags", read_tags},
}};

std::vector<std::string_view> top_names() {
    std::vector<std::string_view> out;
    for (const Key& key : top_keys) {
        out.push_back(key.name);
    }
    return out;
}

Status check_top(const Node& root, const std::string& file) {
    if (root.kind == Kind::null) {
        return error_at(file, {1, 1},
                        "the file is empty: an experiment has `experiment` and "
                        "`matrix`");
    }
    if (root.kind != Kind::map) {
        return error_at(file, root.at,
                        "an experiment is a map of keys such as `experiment` and "
                        "`matrix`, not " +
                            std::string(describe(root)));
    }
    TRY(check_keys(root, top_names(), file));
    for (const char* name : {"experiment", "matrix"}) {
        if (root.find(name) == nullptr) {
            return error_at(file, root.at, "`" + std::string(name) + "` is missing");
        }
    }
    return {};
}

}  // namespace

std::vector<std::string_view> top_level_keys() {
    return top_names();
}

Result<Matrix> parse_matrix(std::string_view text, const std::string& file,
                            const std::vector<std::pair<std::string, std::string>>& overrides) {
    Node root = TRY(yaml::read_document(text, file));
    TRY(check_top(root, file));
    TRY(apply_overrides(root, overrides));
    Matrix matrix;
    matrix.file = file;
    matrix.overridden = !overrides.empty();
    // In the order of the table, so that zip finds the axes of the matrix wherever it stands.
    for (const Key& key : top_keys) {
        for (const auto& [name, value] : root.entries) {
            if (name.text != key.name) {
                continue;
            }
            TRY(key.read == nullptr ? read_later(name, file) : key.read(value, matrix));
        }
    }
    return matrix;
}

}  // namespace bitsweep
