// Files that a command writes because a flag names them: reports, policies.
#pragma once

#include <filesystem>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

// Whether `file`, named by `flag`, can be written: asked before anything is measured. Refuses a
// database, which a slip of the hand would destroy, and folders that are not there.
Status check_output(const std::string& flag, const std::filesystem::path& file);

// All of it or nothing: what was there stays when the disk is full. A link stays a link; devices
// and pipes are written to. Errors as check_output, and of the disk.
Status write_output(const std::string& flag, const std::filesystem::path& file,
                    const std::string& text);

// After the last word of a command: whether standard output took all of them. A reader that closed
// its pipe early has what it wanted.
Status check_standard_output();

}  // namespace bitsweep
