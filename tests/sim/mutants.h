// One safety rule switched off each, and the words with which a checker must notice.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/simulator.h"

namespace bitsweep::sim {

struct Mutant {
    const char* name;
    void (*mutate)(SimOptions&);
    const char* words;
};

inline const std::vector<Mutant>& mutants() {
    static const std::vector<Mutant> all = {
        {"attempt_fence", [](SimOptions& o) { o.rules.attempt_fence = false; },
         "was stored while the job was running with attempt"},
        {"leases_expire", [](SimOptions& o) { o.rules.leases_expire = false; },
         "a job never ended"},
        {"one_job_per_device", [](SimOptions& o) { o.rules.one_job_per_device = false; },
         "two live"},
        {"terminal_is_final", [](SimOptions& o) { o.rules.terminal_is_final = false; },
         "was stored while the job was"},
        {"done_stays_done", [](SimOptions& o) { o.rules.done_stays_done = false; },
         "memory and store disagree"},
        {"budgets", [](SimOptions& o) { o.rules.budgets = false; }, "a job never ended"},
        {"failures_stop", [](SimOptions& o) { o.rules.failures_stop = false; },
         "a job was handed out beyond max_fails"},
        {"pauses_hold", [](SimOptions& o) { o.rules.pauses_hold = false; },
         "a job was handed out while its experiment was paused"},
        {"stops_hold", [](SimOptions& o) { o.rules.stops_hold = false; },
         "a job was handed out after its experiment had ended"},
        {"faults_set_aside", [](SimOptions& o) { o.rules.faults_set_aside = false; },
         "a device that was set aside got a job"},
        {"memory_grows", [](SimOptions& o) { o.rules.memory_grows = false; },
         "a job went again to the kind of card where its memory ran out"},
        {"windows_bounded", [](SimOptions& o) { o.rules.windows_bounded = false; },
         "measured again more often than its protocol allows"},
        {"valid_wins", [](SimOptions& o) { o.rules.valid_wins = false; },
         "is not the newest window that counts"},
        {"sentinels_stand", [](SimOptions& o) { o.rules.sentinels_stand = false; },
         "a card got more jobs between two sentinels"},
        {"drift_flags", [](SimOptions& o) { o.rules.drift_flags = false; },
         "a window between two sentinels that differ still counts"},
        {"acknowledge_after_commit",
         [](SimOptions& o) { o.safety.acknowledge_after_commit = false; },
         "a result was acknowledged before it was stored"},
        {"dispatch_after_commit", [](SimOptions& o) { o.safety.dispatch_after_commit = false; },
         "a dispatch left before it was stored"},
        {"answer_after_commit", [](SimOptions& o) { o.safety.answer_after_commit = false; },
         "an order was answered before it was stored"},
        {"replay", [](SimOptions& o) { o.replay = Recording::Replay::without_one; },
         "a replay of the events gives another state"},
    };
    return all;
}

}  // namespace bitsweep::sim
