// The life of one job: ONE table, state x trigger -> function. A pair without a function is an
// illegal transition and comes back as a typed refusal; the job is then unchanged.
//
//   Waiting --HandOut--> Running --Complete--> Done
//      ^                   | ^ Renew             | Measure, as from Running
//      |                   v |                   |
//      +--Wake-- Backoff <-End-> Failed  <-------+
//      +<------------- Reopen -------------------+   (also from Failed and Cancelled)
//   Waiting, Running, Backoff --Stop--> Cancelled
#pragma once

#include <string>
#include <variant>

#include "coordinator/scheduler/job_state.h"
#include "coordinator/scheduler/retry.h"
#include "schemas/status.h"

namespace bitsweep::scheduler {

// Given to a device: raises the attempt.
struct HandOut {
    WorkerName worker;
    SessionId session;
    std::string device;
    TimePoint now;
    TimePoint lease;
};

// A sign of life of the running attempt, or its adoption by the session that proves to run it.
struct Renew {
    SessionId session;
    TimePoint lease;
    bool started = false;
};

// The running attempt ended well. `flag`: why its window does not count all the same; empty: it
// does.
struct Complete {
    std::string flag;
};

// The window of the newest attempt does not count, and the cell is measured again.
struct Remeasure {
    std::string flag;
    TimePoint not_before;
};

// The running attempt ended otherwise, or was taken back. The attempt number is used up: whatever
// it may still send is late.
struct End {
    Outcome outcome;
    Verdict verdict;
    TimePoint now;
};

struct Wake {};

struct Stop {
    std::string reason;
};

// Run again on request: counters start over, the attempt number does not.
struct Reopen {};

// The order is that of the rows in transition.cpp.
using Trigger = std::variant<HandOut, Renew, Complete, Remeasure, End, Wake, Stop, Reopen>;
inline constexpr std::size_t trigger_count = std::variant_size_v<Trigger>;

// refused: the table has no such transition; the message names state and trigger.
Status apply(JobLife& job, const Trigger& trigger);

std::string_view trigger_word(const Trigger& trigger);

}  // namespace bitsweep::scheduler
