// An experiment file on its way to a coordinator: read, expanded, completed with the digests of the
// files that this machine can see.
#pragma once

#include <filesystem>
#include <map>
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

// The text of an experiment file. not_found, io; invalid_input above 1 MiB.
Result<std::string> read_experiment(const std::filesystem::path& file);

// What expand reads: the text with its name, its --set and the files beside it. `yaml` outlives it.
ExperimentText text_of(const ExperimentRequest& request, std::string_view yaml);

// invalid_input: the file's own mistakes (file:line:column), a policy that was made for another
// model; not_found: no such file.
Result<PreparedExperiment> prepare(const ExperimentRequest& request);

// What models given by `path:` are called, and where they lie. not_found: where nothing lies.
Result<std::map<std::string, std::string>> model_paths(const std::vector<Cell>& cells);

// not_found: a text that prepared cells read is not on this machine.
Status texts_are_here(const std::vector<Cell>& cells);

// What prepared cells need that only another machine can have: models whose `path:` leads nowhere
// here, and texts.
std::vector<ExpansionNote> not_here(const std::vector<Cell>& cells);

// Makes `folder` a models folder that knows each of those under its name, by links, so that workers
// on this machine announce it, and no model of an earlier run. io.
Status link_models(const std::map<std::string, std::string>& paths,
                   const std::filesystem::path& folder);

// Digests of models and texts that are found here; the rest stay empty for the first worker.
Status fill_digests(std::vector<Cell>& cells, const ExperimentRequest& request);

}  // namespace bitsweep
