// Database -> scheduler, after any kind of end of the previous coordinator.
#pragma once

#include "coordinator/scheduler/scheduler.h"
#include "results/store/store.h"

namespace bitsweep {

// Nothing stored as done runs again; a job stored as running keeps its attempt, so that its worker
// can come back within one lease and deliver. Errors: those of the store; corrupt.
Result<scheduler::Snapshot> recover(Store& store);

// How workers tell this database from another: 32 hexadecimal digits, the same at every start and
// in every copy of the file. Written into the event log the first time. io.
Result<std::string> database_name(Store& store, TimePoint now);

// `bitsweep explain JOB` of a database that no coordinator serves. Errors: those of
// scheduler/explain.h and of recover().
Result<Explanation> explain_stored(Store& store, const std::string& job, TimePoint now);

}  // namespace bitsweep
