// `bitsweep explain JOB` of a running coordinator, in words: why a job waits and what would let it
// run, where it runs, how it ended. Pure.
#pragma once

#include <string>

#include "coordinator/scheduler/state.h"

namespace bitsweep::scheduler {

// `job`: a key, or the first characters of one. `store_trouble`: why dispatch is stopped; empty
// when it is not. Errors: not_found; invalid_input when several jobs begin so (names two of them).
Result<Explanation> explain(const State& state, const std::string& job, TimePoint now,
                            const std::string& store_trouble);

}  // namespace bitsweep::scheduler
