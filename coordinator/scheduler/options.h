// Durations of the scheduler. Production values are the defaults; tests shorten them.
#pragma once

#include "coordinator/scheduler/job_state.h"
#include "schemas/catalog/windows.h"
#include "schemas/time.h"

namespace bitsweep::scheduler {

// What a job asks of a device, from the catalog (placement.cpp).
Needs needs_of(const JobSpec& spec);

// Rules that the simulator switches off one by one, to show that its checkers notice.
// Production code never touches them.
struct SafetyRules {
    bool attempt_fence = true;       // a result counts only for the attempt that is running
    bool leases_expire = true;       // silence takes a job back
    bool one_job_per_device = true;  // a busy device gets nothing
    bool terminal_is_final = true;   // a job that ended takes no further result
    bool done_stays_done = true;     // a restart does not run again what is stored
    bool budgets = true;             // crashes and failures are counted against the policy
    bool failures_stop = true;       // max_fails ends an experiment
    bool pauses_hold = true;         // a paused experiment gets nothing
    bool stops_hold = true;          // a stopped one neither
    bool faults_set_aside = true;    // a device with a sticky error gets nothing
    bool memory_grows = true;        // out of memory goes to another kind of card only
    bool windows_bounded = true;     // a cell is measured again as often as its protocol allows
    bool valid_wins = true;          // a window that counts replaces one that does not
    bool sentinels_stand = true;     // no more jobs between two sentinels than the protocol allows
    bool drift_flags = true;         // sentinels that differ flag what was measured between them
};

// Which of the jobs of one priority a free device gets first.
enum class Affinity {
    weights,  // one whose weights its runner holds, else the first in order
    none,     // the first in order
};

struct Options {
    std::string database;       // its name, told to workers (Welcome); empty: it has none
    Duration heartbeat{1'000};  // how often a worker must speak
    Duration lease{10'000};     // ten heartbeats: a stalled machine is not a lost one
    Duration backoff{1'000};    // before the second attempt; doubles
    Duration backoff_max{60'000};
    Duration overtime{60'000};  // beyond a job's timeout until the coordinator stops waiting for
                                // the worker's own verdict
    Duration forget{600'000};   // silence after which a lost worker leaves the table
    // What a CUDA process takes beside its tensors: context, modules, cuBLAS; 549 MB were measured
    // on an H100 (tests/bench/README.md).
    std::uint64_t cuda_context_bytes = 600ull << 20;
    Duration settle{5'000};  // before a cell is measured again whose window did not count; doubles
    Needs (*needs)(const JobSpec&) = needs_of;  // tests have a catalog of their own
    WindowPolicy (*windows)(Protocol) = window_policy;
    Affinity affinity = Affinity::weights;
    SafetyRules rules;
};

}  // namespace bitsweep::scheduler
