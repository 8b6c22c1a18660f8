// Readers of the larger keys of an experiment file: yaml::Node -> Matrix. All of them are
// invalid_input with the place and what would be right.
#pragma once

#include <string>

#include "coordinator/expand/matrix.h"
#include "coordinator/expand/yaml_node.h"
#include "schemas/status.h"

namespace bitsweep {

Status want_kind(const yaml::Node& node, yaml::Kind kind, const std::string& name,
                 const Files& file);

// ---- axes_read.cpp
Status read_matrix_axes(const yaml::Node& node, Matrix& matrix);
Status read_zip(const yaml::Node& node, Matrix& matrix);
Status read_defaults(const yaml::Node& node, Matrix& matrix);

// A condition of an axis reads what stands above it, nothing else; when all keys are read.
Status check_branches(const Matrix& matrix);

// ---- rules_read.cpp
Status read_exclude(const yaml::Node& node, Matrix& matrix);
Status read_include(const yaml::Node& node, Matrix& matrix);
Status read_where(const yaml::Node& node, Matrix& matrix);
Status read_derive(const yaml::Node& node, Matrix& matrix);

// One `field: pattern` of an exclusion.
Result<Condition> read_condition(const yaml::Node& key, const yaml::Node& node, const Files& file);

}  // namespace bitsweep
