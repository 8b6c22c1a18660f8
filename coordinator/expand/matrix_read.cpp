// yaml::Node -> Matrix: the keys of an experiment file, each with its reader.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/expand/expand.h"
#include "coordinator/expand/extends.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/gate.h"
#include "coordinator/expand/overrides.h"
#include "coordinator/expand/readers.h"
#include "coordinator/expand/text.h"
#include "coordinator/expand/yaml_node.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;
using yaml::Kind;
using yaml::Node;

// ---- the rest of the keys

Status read_order(const Node& node, Matrix& matrix) {
    const std::string text = TRY(read_text("order", node, 128, matrix.file));
    static constexpr std::string_view head = "interleave(";
    if (text == "shuffled" || text == "listed") {
        matrix.order = text == "listed" ? OrderKind::listed : OrderKind::shuffled;
        return {};
    }
    if (text.starts_with("shuffled(") && text.ends_with(")")) {
        Node seed = node;
        seed.quoted = false;
        seed.text = text.substr(9, text.size() - 10);
        const Value value = TRY(read_value(Field::seed, seed, matrix.file));
        matrix.order_seed = static_cast<std::uint64_t>(std::get<std::int64_t>(value.data));
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

// ---- the table of top-level keys

using Reader = Status (*)(const Node& node, Matrix& matrix);
struct Key {
    std::string_view name;
    Reader read;
};

template <std::size_t Most>
Result<std::string> text_of(const char* name, const Node& node, const Matrix& matrix) {
    return read_text(name, node, Most, matrix.file);
}

constexpr std::array<Key, 19> top_keys = {{
    {"experiment", read_name},
    // Merged and gone before the keys are read: here for messages.
    {"extends", [](const Node&, Matrix&) { return Status(); }},
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
    {"derive", read_derive},
    {"exclude", read_exclude},
    {"include", read_include},
    {"where", read_where},
    {"order", read_order},
    {"priority",
     [](const Node& node, Matrix& matrix) -> Status {
         matrix.policy.priority = static_cast<int>(
             TRY(read_integer("priority", node, -most_priority, most_priority, matrix.file)));
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

Status check_top(const Node& root, const Files& file) {
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

namespace {

Status read_keys(const Node& root, Matrix& matrix) {
    TRY(check_top(root, matrix.file));
    // In the order of the table, so that zip finds the axes of the matrix wherever it stands.
    for (const Key& key : top_keys) {
        for (const auto& [name, value] : root.entries) {
            if (name.text == key.name) {
                TRY(key.read(value, matrix));
            }
        }
    }
    return check_branches(matrix);
}

}  // namespace

bool may_take(const Axis& axis, const std::string& key) {
    const auto has = [&](const std::vector<Value>& values) {
        return std::ranges::any_of(values, [&](const Value& one) { return one.key == key; });
    };
    return has(axis.values) || (axis.otherwise && has(*axis.otherwise)) ||
           std::ranges::any_of(axis.cases, [&](const auto& one) { return has(one.second); }) ||
           std::ranges::any_of(axis.branches, [&](const Branch& one) { return has(one.values); });
}

Result<Matrix> parse_matrix(const ExperimentText& text) {
    Matrix matrix;
    matrix.file = text.file;
    matrix.overridden = !text.overrides.empty();
    matrix.read = text.read_base;
    Node root = TRY(yaml::read_document(text.yaml, text.file));
    if (root.kind == Kind::map) {
        TRY(apply_extends(root, text.read_base, matrix.file, matrix.bases));
        TRY(apply_overrides(root, text.overrides));
    }
    TRY(read_keys(root, matrix));
    TRY(check_schema(root, matrix.file));
    return matrix;
}

Result<Matrix> parse_matrix(std::string_view yaml, const std::string& file,
                            const std::vector<std::pair<std::string, std::string>>& overrides) {
    return parse_matrix(ExperimentText{yaml, file, overrides, {}});
}

}  // namespace bitsweep
