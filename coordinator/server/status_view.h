// What `status` shows, from the scheduler's state. Pure.
#pragma once

#include <string>

#include "coordinator/scheduler/state.h"
#include "schemas/message.h"

namespace bitsweep {

// `store_trouble`: why dispatch is stopped; empty when it is not. An unknown experiment gives a
// reply without experiments. In ExperimentStatus::jobs, "impossible" counts the waiting jobs that
// no attached worker can run (they are not in "waiting"); templates that have met no device yet
// count as waiting.
StatusReply status_view(const scheduler::State& state, TimePoint now,
                        const ExperimentName& experiment, const std::string& store_trouble);

}  // namespace bitsweep
