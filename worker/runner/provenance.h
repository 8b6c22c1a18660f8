// Where a number came from: build, machine, libraries, what was opened.
#pragma once

#include <map>
#include <string>

#include "worker/inference/model_files.h"

namespace bitsweep {

using Provenance = std::map<std::string, std::string>;

// Facts that do not change while the process lives: engine_version, git, compiler, flags, torch,
// host, kernel, cpu, cores, memory_bytes, isa.
const Provenance& process_provenance();

// model_path, model_format, weights_type (stored types of the linear layers).
Provenance model_provenance(const ModelFiles& files);

}  // namespace bitsweep
