// --set key=value: the value is YAML; the key is a field ("model", "new_tokens"), a key of the file
// ("priority", "timeout", "where"), or a path ("defaults.batch", "matrix.gpu", "derive.warmup").
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/expand/yaml_node.h"
#include "schemas/status.h"

namespace bitsweep {

// The keys that an experiment file may have, for suggestions.
std::vector<std::string_view> top_level_keys();

// A field replaces the axis of that name where the matrix has one, else the default and what is
// derived for it. invalid_input: a key that names nothing, a value that is no YAML.
Status apply_overrides(yaml::Node& root,
                       const std::vector<std::pair<std::string, std::string>>& overrides);

}  // namespace bitsweep
