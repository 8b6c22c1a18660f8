// The logs of finished jobs do not fill the disk of a worker that lives for weeks.
#pragma once

#include <cstdint>
#include <filesystem>

namespace bitsweep::agent {

// A log ends at 8 MiB (child.cpp) and is seldom longer than some KiB.
struct LogBounds {
    std::size_t files = 4'096;
    std::uint64_t bytes = std::uint64_t{512} << 20;
};

// Removes the oldest files of the folder beyond either bound.
void prune_logs(const std::filesystem::path& folder, const LogBounds& bounds);

}  // namespace bitsweep::agent
