// What the live page shows of an experiment's results so far, from the database.
#pragma once

#include <filesystem>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

// {"cells": [{"model", "method", "gpu", "states": {"done": 3, ...}}, ...],
//  "estimates": [{"model", "method", "device", "decode", "low", "high", "perplexity"}, ...]}
// in the order of the experiment; a number that was not measured is null. Errors: those of the
// store; not_found: no such experiment.
Result<std::string> live_results(const std::filesystem::path& db, const std::string& experiment);

}  // namespace bitsweep
