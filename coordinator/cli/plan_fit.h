// Where a cell's memory fits: attached devices where a coordinator tells them, else the table of
// cards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schemas/catalog/job_memory.h"
#include "schemas/job.h"
#include "schemas/message.h"

namespace bitsweep {

// What the job will allocate; nullopt: a shape that the table does not know. The scheduler places
// by the same sum (scheduler/placement.cpp).
std::optional<std::uint64_t> memory_of(const JobSpec& spec, JobMemories& memories);
std::optional<std::uint64_t> memory_of(const JobSpec& spec);

// Empty where it fits or nobody knows; else "needs 15.1 GiB, T4 has 15.0 GiB; the smallest known
// card that holds it is A10 with 22.5 GiB".
std::string misfit(const JobSpec& spec, std::optional<std::uint64_t> bytes,
                   const std::vector<DeviceInfo>& attached);

}  // namespace bitsweep
