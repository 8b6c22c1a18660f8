// Database -> scheduler, after any kind of end of the previous coordinator.
#pragma once

#include "coordinator/scheduler/scheduler.h"
#include "results/store/store.h"

namespace bitsweep {

// Nothing stored as done runs again; a job stored as running keeps its attempt, so that its worker
// can come back within one lease and deliver. Errors: those of the store; corrupt.
Result<scheduler::Snapshot> recover(Store& store);

}  // namespace bitsweep
