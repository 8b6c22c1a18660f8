// One job to one result. The seam where exceptions of libtorch and the standard library end.
#pragma once

#include "schemas/message.h"
#include "schemas/run_result.h"
#include "worker/runner/model_session.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

// Always a result: an error of the job is its outcome. What was measured before an error is kept.
RunResult run_job(const Dispatch& job, ModelSession& session, const Progress& progress);

// The class that an error becomes.
OutcomeClass outcome_class(ErrorCode code);

}  // namespace bitsweep
