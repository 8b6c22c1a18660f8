// Files that hold secrets: written whole or not at all, readable by their owner only.
#pragma once

#include <filesystem>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

// Temporary file, fsync, rename; mode 0600. io with the system's words.
Status write_private_file(const std::filesystem::path& file, const std::string& text);

// not_found; refused when group or others may read it (the remedy is in the message); io.
Result<std::string> read_private_file(const std::filesystem::path& file);

// A folder of mode 0700, like those above it that are missing; an existing one is left as it is.
// io.
Status make_private_folder(const std::filesystem::path& folder);

}  // namespace bitsweep
