// Digests of what this process opened, remembered while the files stay as they are.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "schemas/status.h"
#include "worker/inference/weights.h"

namespace bitsweep {

class Digests {
 public:
    // As schemas/content.h defines them; computed again only when a size, modification time or
    // inode of the files changed.
    Result<std::string> of_model(const std::filesystem::path& model);
    Result<std::string> of_file(const std::filesystem::path& file);

 private:
    std::map<std::string, std::string> known_;  // stamp of the files -> digest
};

// Random weights have no files: SHA-256 of
// "random:<random_weights_generation>:<shape>:<seed>:<columns>:<magnitude>".
std::string random_weights_digest(const std::string& shape, const RandomWeightsOptions& options);

}  // namespace bitsweep
