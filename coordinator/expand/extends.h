// `extends: other.yaml`: an experiment that begins as another one.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/expand/yaml_node.h"
#include "schemas/status.h"

namespace bitsweep {

// The text of a file by its path relative to the folder of the experiment, without `..` and never
// absolute. Its errors are shown after the place of `extends`.
using BaseReader = std::function<Result<std::string>(const std::string& path)>;

// A base as it was read: its path and its text, for the record.
using BaseTexts = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t max_bases = 8;  // a chain that a person can still follow

// Replaces `root` by the merged tree and removes `extends`. Maps (defaults, matrix, derive,
// retries, tags) merge key by key, everything else of the extending file replaces; `key: ~`
// removes. `experiment`, `jobs` and `cost` are not inherited. invalid_input with the place of
// `extends`: a path that leaves the folder, a cycle, a chain longer than max_bases, a file that
// cannot be read.
Status apply_extends(yaml::Node& root, const BaseReader& read, Files& files, BaseTexts& bases);

}  // namespace bitsweep
