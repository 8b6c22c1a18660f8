// `bitsweep explain FILE field=value ...`: which lines of an experiment file make a cell, or leave
// it out. explain_job.cpp is about jobs that were submitted.
#pragma once

#include <string>
#include <vector>

#include "coordinator/cli/options.h"
#include "schemas/status.h"

namespace bitsweep {

// Prints; the exit code is 1 when none of the combinations becomes a cell. `conditions`: as under
// `exclude`, "model=llama-*", "bits=>=8".
Result<int> explain_cell(const std::string& file, const std::vector<std::string>& conditions,
                         const Parsed& parsed);

}  // namespace bitsweep
