// The whole file against schemas/experiment.schema.json, the schema that editors use.
#pragma once

#include "coordinator/expand/yaml_node.h"
#include "schemas/status.h"

namespace bitsweep {

// invalid_input with the place of the value that the schema refuses. Its words are the validator's:
// a reader that refuses the same file says it better, and bounds the texts that patterns are tried
// on, so it is asked first.
Status check_schema(const yaml::Node& root, const Files& file);

}  // namespace bitsweep
