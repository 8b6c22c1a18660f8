// What the scheduler wants done. The shell performs every Store command of a step in one
// transaction and, only when that is durable, the Send commands in order.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/scheduler/job_state.h"
#include "schemas/message.h"

namespace bitsweep::scheduler {

// Insert the job when its key is new; link it to the experiment either way.
struct StoreNewJob {
    ExperimentName experiment;
    JobRecord job;
};

// The experiment was submitted without this job: it is a former member, its results stay.
struct StoreFormer {
    ExperimentName experiment;
    JobKey key;
};

// State, attempt, counters or last ending of a job changed.
struct StoreJob {
    JobRecord job;
};

// A sentinel of this experiment: a job that is none of its cells. Its `sentinel` says of what.
struct StoreSentinel {
    ExperimentName experiment;
    JobRecord job;
};

// An attempt ended with a result that counts.
struct StoreRun {
    std::shared_ptr<const RunResult> result;
    WorkerName worker;
    std::string device;
    std::string device_kind;
    std::string device_name;
    bool shown = false;  // the views show this attempt from now on
};

// What was learnt of a stored attempt later.
struct StoreVerdict {
    JobKey key;
    Attempt attempt;
    Measurement verdict;
};

// One line of the event log. It is for people, and what people ordered lives there: a restart reads
// pauses, stops and quarantines back from it (server/recover.cpp).
struct LogEvent {
    std::string kind;  // "retry", "joined", "lost", "left", "late", "quarantine", ...
    JobKey key;        // empty when it is not about one job
    Attempt attempt;
    std::string text;
    ExperimentName experiment = {};  // of "submitted", "paused", "resumed", "stopped", "retried"
    WorkerName worker = {};          // of "quarantine" and "cleared"
    std::string device = {};         // of the same
    std::string card = {};           // of the same: how the card is known again (placement.h)
};

using WorkerMessage = std::variant<Welcome, Dispatch, Cancel, ResultAck, Drain, Refusal>;

struct Send {
    SessionId to;
    WorkerMessage message;
};

// Leave out the cells whose card_condition `device` fails, settle the keys of the others (templates
// made concrete for a kind of device) and come back with CellsResolved. `device`: one of that kind,
// or its kind alone where none is attached now.
struct Instantiate {
    ExperimentName experiment;
    std::vector<Cell> cells;
    bool force = false;
    bool retry_failed = false;
    DeviceInfo device = {};
};

// Answer to a Submission; CellsResolved gives one for its own cells.
struct Answer {
    Submitted counts;
};

// Answer to a Control.
struct Obeyed {
    Result<Controlled> answer;
};

using Command = std::variant<StoreNewJob, StoreFormer, StoreJob, StoreSentinel, StoreRun,
                             StoreVerdict, LogEvent, Send, Instantiate, Answer, Obeyed>;

}  // namespace bitsweep::scheduler
