#include "coordinator/scheduler/transition.h"

#include <gtest/gtest.h>

#include "coordinator/scheduler/options.h"
#include "coordinator/scheduler/retry.h"
#include "tests/scheduler/builders.h"

namespace bitsweep::scheduler {
namespace {

JobRecord record(JobState state) {
    JobRecord job;
    job.key = JobKey{"a"};
    job.cell = std::make_shared<const Cell>(cell("m/fp16"));
    job.state = std::move(state);
    job.attempt = Attempt{3};
    return job;
}

const std::vector<JobState> all_states = {Waiting{}, Running{}, Backoff{},
                                          Done{},    Failed{},  Cancelled{"why"}};
const std::vector<Trigger> all_triggers = {HandOut{},
                                           Renew{},
                                           Complete{},
                                           Remeasure{"throttled", {}},
                                           End{{OutcomeClass::crash, "died", ""}, {}, {}},
                                           Wake{},
                                           Stop{},
                                           Reopen{}};

// The specification, written a second time: "from trigger to".
const std::vector<std::string> legal = {
    "waiting hand out running",   "waiting stop cancelled",   "running renew running",
    "running complete done",      "running end waiting",      "running stop cancelled",
    "backoff wake waiting",       "backoff stop cancelled",   "done reopen waiting",
    "failed reopen waiting",      "cancelled reopen waiting", "running measure again backoff",
    "done measure again backoff",
};

TEST(Transition, only_the_listed_transitions_are_possible_and_all_others_are_refused_unchanged) {
    std::vector<std::string> seen;
    for (const JobState& state : all_states) {
        for (const Trigger& trigger : all_triggers) {
            JobRecord job = record(state);
            const std::string from(state_word(job.state));
            const std::string before = in_words(job);
            const Status applied = scheduler::apply(job, trigger);
            if (applied) {
                seen.push_back(from + " " + std::string(trigger_word(trigger)) + " " +
                               std::string(state_word(job.state)));
            } else {
                EXPECT_EQ(applied.error().code, ErrorCode::refused);
                EXPECT_NE(applied.error().message.find("`" + from + "`"), std::string::npos);
                EXPECT_EQ(in_words(job), before);
            }
        }
    }
    std::vector<std::string> expected = legal;
    std::sort(seen.begin(), seen.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(seen, expected);
}

TEST(Transition, handing_out_raises_the_attempt_and_running_again_does_not_lower_it) {
    JobRecord job = record(Waiting{});
    ASSERT_TRUE(scheduler::apply(job, HandOut{}).ok());
    EXPECT_EQ(job.attempt.value, 4u);
    ASSERT_TRUE(scheduler::apply(job, Complete{}).ok());
    ASSERT_TRUE(scheduler::apply(job, Reopen{}).ok());
    EXPECT_EQ(job.attempt.value, 4u);
}

TEST(Retry, every_outcome_class_has_one_rule) {
    for (int i = 0; i <= static_cast<int>(OutcomeClass::cancelled); ++i) {
        EXPECT_EQ(retry_rule(static_cast<OutcomeClass>(i)).outcome, static_cast<OutcomeClass>(i));
    }
}

TEST(Retry, delays_double_up_to_the_maximum) {
    JobRecord job = record(Running{});
    Cell generous = *job.cell;
    generous.policy.retries_crash = 20;
    Options options;
    std::vector<std::int64_t> delays;
    for (job.crashes = 0; job.crashes < 9; ++job.crashes) {
        delays.push_back(judge(job, generous.policy, OutcomeClass::crash, false, options).delay.ms);
    }
    EXPECT_EQ(delays, (std::vector<std::int64_t>{1'000, 2'000, 4'000, 8'000, 16'000, 32'000, 60'000,
                                                 60'000, 60'000}));
}

}  // namespace
}  // namespace bitsweep::scheduler
