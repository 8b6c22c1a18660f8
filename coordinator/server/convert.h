// The scheduler's nouns <-> the store's nouns, field by field and nothing else.
#pragma once

#include <string>

#include "coordinator/scheduler/command.h"
#include "coordinator/scheduler/job_state.h"
#include "results/store/store.h"

namespace bitsweep {

// Without the cell, which set_job() does not read and which is most of the bytes.
StoredState to_stored_state(scheduler::JobRecord job);

// corrupt: a state word that this release does not know.
Result<scheduler::JobRecord> from_stored(StoredJob job);

// One compact JSON object for the event log: {"key":..,"attempt":..,"text":..}.
std::string event_json(const scheduler::LogEvent& event);

}  // namespace bitsweep
