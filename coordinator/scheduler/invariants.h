// Re-derives every index of the scheduler from the states of its jobs.
#pragma once

#include <string>
#include <vector>

#include "coordinator/scheduler/state.h"

namespace bitsweep::scheduler {

// One sentence for each thing that does not hold; empty when all is well. Every scheduler test
// ends with it.
std::vector<std::string> broken_invariants(const State& state);

}  // namespace bitsweep::scheduler
