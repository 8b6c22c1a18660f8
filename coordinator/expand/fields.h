// The visible table of fields: what each may hold. Readers of YAML values, shared by defaults,
// axes, include and exclude.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/expand/matrix.h"
#include "coordinator/expand/yaml_node.h"
#include "schemas/status.h"

namespace bitsweep {

enum class FieldType { integer, number, boolean, word, text, method, model, gpu, eval };

struct FieldRow {
    Field field;
    std::string_view name;
    FieldType type;
    std::int64_t least;                       // integer, number
    std::int64_t most;                        // integer, number, length of a text
    std::span<const std::string_view> words;  // word; of integers: the only values
};

std::span<const FieldRow> field_table();
const FieldRow& field_row(Field field);
std::optional<Field> field_from_string(std::string_view name);
std::vector<std::string_view> field_names();

// At most this many values of one axis, and cells of one experiment.
inline constexpr std::int64_t max_cells = 1'000'000;

// All of these are invalid_input with the place and what would be right.

// The field that a key names, or the nearest.
Result<Field> read_field_name(const yaml::Node& key, const Files& file);
// One value of `field`.
Result<Value> read_value(Field field, const yaml::Node& node, const Files& file);
// Every value of an independent axis: one, a list, a range, `each`.
Result<std::vector<Value>> read_values(Field field, const yaml::Node& node, const Files& file);
// True when the node is a map that is no value and no range: cases by another axis.
bool is_dependent(Field field, const yaml::Node& node);

// A whole number in [least, most] for a key outside the table.
Result<std::int64_t> read_integer(std::string_view name, const yaml::Node& node, std::int64_t least,
                                  std::int64_t most, const Files& file);
// Text of at most `most` bytes for a key outside the table.
Result<std::string> read_text(std::string_view name, const yaml::Node& node, std::size_t most,
                              const Files& file);
// Every key of the map is one of `known`.
Status check_keys(const yaml::Node& map, std::span<const std::string_view> known,
                  const Files& file);

}  // namespace bitsweep
