// What the end of an attempt means for its job: one visible table, outcome class -> rule.
#pragma once

#include "coordinator/scheduler/job_state.h"
#include "coordinator/scheduler/options.h"
#include "schemas/run_result.h"

namespace bitsweep::scheduler {

enum class Budget { none, crash, fail };  // which counter an ending is charged to
// Where the job must not go again. smaller: the kind of card it ran on, and anything with no more
// memory than that.
enum class Avoid { nothing, device_kind, smaller, session };
enum class Blame { nobody, device };  // a blamed device gets no further job

struct RetryRule {
    OutcomeClass outcome;
    Budget budget;
    Avoid avoid;
    Blame blame;
};

const RetryRule& retry_rule(OutcomeClass outcome);

enum class Next { again, later, never };

struct Verdict {
    Next next = Next::again;
    Duration delay;  // with Next::later
    Budget budget = Budget::none;
};

// `elsewhere`: a device of another kind that the job may run on is attached.
Verdict judge(const JobLife& job, const JobPolicy& policy, OutcomeClass outcome, bool elsewhere,
              const Options& options);

}  // namespace bitsweep::scheduler
