// An experiment file on its way to a coordinator: read, expanded, completed with the digests of the
// files that this machine can see.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/expand/expand.h"
#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

struct ExperimentRequest {
    std::filesystem::path file;
    std::vector<std::pair<std::string, std::string>> overrides;  // --set
    std::vector<std::filesystem::path> models;                   // --models, before the usual ones
    std::vector<std::filesystem::path> data;
    std::optional<int> priority;
    bool force = false;
    bool retry_failed = false;
};

struct PreparedExperiment {
    Submit submit;
    Expansion expansion;  // its cells are in `submit`
};

// invalid_input: the file's own mistakes (file:line:column); not_found: no such file.
Result<PreparedExperiment> prepare(const ExperimentRequest& request);

// Digests of models and texts that are found here; the rest stay empty for the first worker.
Status fill_digests(std::vector<Cell>& cells, const ExperimentRequest& request);

}  // namespace bitsweep
