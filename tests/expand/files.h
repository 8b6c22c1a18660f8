// The golden files of this folder and what an expansion looks like in them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/expand/expand.h"

namespace bitsweep::testing {

std::string read_text_file(const std::filesystem::path& file);

// Every *.yaml of tests/expand/FOLDER, sorted.
std::vector<std::filesystem::path> yaml_files(const std::string& folder);

// Axes, notes, policy, and one line per cell with the fields that differ from a cell of llama-nano,
// fp16, on the CPU, with everything else at its default.
std::string describe(const Expansion& expansion);

using Overrides = std::vector<std::pair<std::string, std::string>>;

// The expansion of a text, or a failed expectation and an empty one.
Expansion expanded(const std::string& yaml, const Overrides& overrides = {});
// The message of the error, or "accepted".
std::string refusal(const std::string& yaml, const Overrides& overrides = {});

}  // namespace bitsweep::testing
