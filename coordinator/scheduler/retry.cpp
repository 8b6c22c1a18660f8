#include "coordinator/scheduler/retry.h"

#include <algorithm>
#include <iterator>

#include "schemas/status.h"

namespace bitsweep::scheduler {

namespace {

// Why the columns: a crash may be the machine's fault, so it has a budget of its own; memory that
// was short once will be short again on the same kind of card; files that differ on one worker say
// nothing about the next; a sticky device error poisons every later job of that device.
constexpr RetryRule rules[] = {
    {OutcomeClass::done, Budget::none, Avoid::nothing, Blame::nobody},
    {OutcomeClass::failure, Budget::fail, Avoid::nothing, Blame::nobody},
    {OutcomeClass::crash, Budget::crash, Avoid::nothing, Blame::nobody},
    {OutcomeClass::out_of_memory, Budget::none, Avoid::smaller, Blame::nobody},
    {OutcomeClass::out_of_gpu_memory, Budget::none, Avoid::smaller, Blame::nobody},
    {OutcomeClass::gpu_fault, Budget::crash, Avoid::nothing, Blame::device},
    {OutcomeClass::timeout, Budget::fail, Avoid::nothing, Blame::nobody},
    {OutcomeClass::invalid_numbers, Budget::fail, Avoid::nothing, Blame::nobody},
    {OutcomeClass::infeasible, Budget::none, Avoid::device_kind, Blame::nobody},
    {OutcomeClass::lost_worker, Budget::crash, Avoid::nothing, Blame::nobody},
    {OutcomeClass::refused, Budget::none, Avoid::session, Blame::nobody},
    {OutcomeClass::cancelled, Budget::none, Avoid::nothing, Blame::nobody},
};

// backoff, 2 backoff, 4 backoff ... up to the maximum.
Duration delay_before(int ending, const Options& options) {
    std::int64_t delay = options.backoff.ms;
    for (int i = 1; i < ending && delay < options.backoff_max.ms; ++i) {
        delay *= 2;
    }
    return {std::min(delay, options.backoff_max.ms)};
}

Verdict charge(Budget budget, int used, int allowed, const Options& options) {
    if (options.rules.budgets && used + 1 > allowed) {
        return {Next::never, {}, budget};
    }
    return {Next::later, delay_before(used + 1, options), budget};
}

}  // namespace

const RetryRule& retry_rule(OutcomeClass outcome) {
    const auto* row = std::find_if(std::begin(rules), std::end(rules),
                                   [&](const RetryRule& r) { return r.outcome == outcome; });
    ASSERT(row != std::end(rules));
    return *row;
}

Verdict judge(const JobLife& job, const JobPolicy& policy, OutcomeClass outcome, bool elsewhere,
              const Options& options) {
    const RetryRule& rule = retry_rule(outcome);
    switch (rule.budget) {
        case Budget::crash:
            return charge(Budget::crash, job.crashes, policy.retries_crash, options);
        case Budget::fail:
            return charge(Budget::fail, job.failures, policy.retries_fail, options);
        case Budget::none:
            break;
    }
    switch (rule.avoid) {
        case Avoid::device_kind:
        case Avoid::smaller:
            return {elsewhere ? Next::again : Next::never, {}, Budget::none};
        case Avoid::session:
            return {Next::again, {}, Budget::none};
        case Avoid::nothing:
            // Uncharged and free to go anywhere: a short delay keeps a worker that always hands
            // jobs back from spinning.
            return {Next::later, options.backoff, Budget::none};
    }
    return {Next::never, {}, Budget::none};
}

}  // namespace bitsweep::scheduler
