// What must hold between the sizes of a config, whatever file it came from.
#pragma once

#include <string>

#include "schemas/status.h"
#include "worker/inference/config.h"

namespace bitsweep {

// invalid_input when heads, head size and width do not fit together. `label` opens the message.
Status check_config(const ModelConfig& config, const std::string& label);

}  // namespace bitsweep
