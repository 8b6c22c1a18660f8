// Finds a job by its key. The keys stand in the jobs: a map with keys of its own would need 170
// bytes a job, this needs 8.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/scheduler/job.h"

namespace bitsweep::scheduler {

class KeyIndex {
 public:
    // Position in `jobs`, which holds all that were added.
    std::optional<std::uint32_t> find(const PackedKey& key, const std::vector<Job>& jobs) const;
    // jobs[position], which has just got there. False: its key is known already.
    bool add(std::uint32_t position, const std::vector<Job>& jobs);

 private:
    std::size_t slot_of(const PackedKey& key, const std::vector<Job>& jobs) const;
    void grow(const std::vector<Job>& jobs);

    std::vector<std::uint32_t> slots_;  // 1 + position; 0: free. A power of two, half of it free.
    std::size_t used_ = 0;
};

}  // namespace bitsweep::scheduler
