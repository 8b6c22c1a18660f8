// Everything that can happen to the scheduler. What a worker says comes in as the message itself.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "schemas/message.h"

namespace bitsweep::scheduler {

// A cell whose job key is settled: the key of the stored job of the same cell, else a new one.
struct ResolvedCell {
    JobKey key;
    std::shared_ptr<const Cell> cell;  // never null
};

// One attempt of a job ended on a worker. The scheduler reads outcome and digests only.
struct ResultArrived {
    SessionId session;
    std::shared_ptr<const RunResult> result;  // never null
};

// A client submitted an experiment.
struct Submission {
    ExperimentName experiment;
    std::vector<ResolvedCell> cells;
    std::vector<Cell> templates;  // gpu "*": one job for each kind of device that attaches
    bool force = false;
    bool retry_failed = false;
    std::int64_t max_fails = 0;  // 0: no limit
};

// The server settled the keys of the cells that an Instantiate command named.
struct CellsResolved {
    ExperimentName experiment;
    std::vector<ResolvedCell> cells;
    bool force = false;
    bool retry_failed = false;
    std::map<std::string, std::int64_t> left_out;  // cells that `where` leaves out, by why
};

// A Dispatch could not be put on the wire: the peer is gone.
struct DispatchUnsent {
    SessionId session;
    JobKey key;
    Attempt attempt;
};

// The database cannot be written: nothing may be handed out until StoreMended.
struct StoreFailed {};
struct StoreMended {};

// Time passed: leases and delays are looked at.
struct Tick {};

using Event = std::variant<Hello, Heartbeat, Started, ResultArrived, Goodbye, Submission,
                           CellsResolved, Control, DispatchUnsent, StoreFailed, StoreMended, Tick>;

}  // namespace bitsweep::scheduler
