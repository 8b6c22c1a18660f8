// Everything that travels between client, coordinator and worker. One JSON object per message:
// {"protocol": 4, "type": "hello", ...}. Unknown types and versions are refused with a reason.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/ids.h"
#include "schemas/job.h"
#include "schemas/run_result.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

// 2: several messages a frame (sequence.h); 3: cells in rows (cell_rows.h).
inline constexpr int protocol_version = 4;

// A device that can run one job at a time.
struct DeviceInfo {
    std::string id;    // "cpu", "cuda:0"
    std::string kind;  // "cpu" or name, memory, power limit and MIG profile in one word
    std::string name;  // marketing name, CPU model
    std::uint64_t memory_bytes = 0;            // total
    std::uint64_t free_bytes = 0;              // as measured at hello
    std::map<std::string, std::string> facts;  // clocks, driver, power limit, cores, flags ...
};

// What changes on a device while the worker lives.
struct DeviceState {
    std::string id;
    std::uint64_t free_bytes = 0;  // what a new runner of ours could use: free memory, and that of
                                   // runners this worker would end for it; 0: not known
    std::string foreign;           // who else computes there, in words ("pid 71, python"); empty:
                                   // nobody
};

struct RunningJob {
    JobKey key;
    Attempt attempt;
};

// ---- worker -> coordinator
struct Hello {
    WorkerName worker;
    SessionId session;  // new for every process start
    std::string host;
    std::string version;  // of bitsweep
    std::vector<DeviceInfo> devices;
    std::vector<std::string> models;  // names this worker can find
    std::vector<RunningJob> running;  // kept through a coordinator restart
    Duration remaining;  // until this worker ends by itself (`--until`); 0: no end is known. A
                         // span, because two machines seldom agree on the time of day.
    bool clear = false;  // `--clear`: a person says that its devices are sound again
    std::string database = {};  // whose jobs `running` speaks of (Welcome); empty: not known
};
struct Heartbeat {
    SessionId session;
    std::vector<RunningJob> running;
    std::vector<DeviceState> devices = {};  // those that changed or all of them; may be empty
};
struct Started {
    SessionId session;
    JobKey key;
    Attempt attempt;
    std::string device;
};
struct ResultDelivery {
    SessionId session;
    RunResult result;
};
struct Goodbye {  // drained or interrupted: nothing is running any more
    SessionId session;
};

// ---- coordinator -> worker
struct Welcome {
    Duration heartbeat;  // how often the worker must speak
    Duration lease;      // how long a job survives silence
    // Which one this coordinator writes: a result goes to the database whose job it is, and a name
    // or an address says nothing of that. Empty: it has no name.
    std::string database = {};
};
struct Dispatch {
    JobKey key;
    Attempt attempt;
    std::string device;
    Duration timeout;
    JobSpec spec;
    std::string weights_digest;  // bound ones; empty: the worker binds
    std::string dataset_digest;
};
struct Cancel {
    JobKey key;
    Attempt attempt;
    std::string reason;
};
struct ResultAck {  // after the commit; the outbox entry may go
    JobKey key;
    Attempt attempt;
};
struct Drain {};

// ---- client -> coordinator
struct Submit {
    ExperimentName experiment;
    std::string yaml;         // the file as typed, kept for `explain`
    std::vector<Cell> cells;  // gpu kind "*" marks a template for `gpu: {each: any}`. Their spec
                              // keys do not travel.
    bool force = false;       // run again what is done
    bool retry_failed = false;
    std::map<std::string, std::string> tags;
    std::int64_t max_fails = 0;  // so many failed jobs stop the experiment; 0: no limit
    // A submission that is longer than a message comes in pieces, numbered from 0, each answered
    // before the next. Nothing of it exists before the last one, whose other fields count.
    std::int64_t piece = 0;
    bool continues = false;  // more pieces follow
};
struct StatusRequest {
    ExperimentName experiment;  // empty: all
};
struct Shutdown {};  // only with role submit; used by `run` at its end

// pause, resume, cancel, retry: an experiment; drain, clear: a worker.
enum class ControlAction { pause, resume, cancel, retry, drain, clear };
std::string_view to_string(ControlAction action);
std::optional<ControlAction> control_action_from_string(std::string_view text);

// What a person orders.
struct Control {
    ControlAction action = ControlAction::pause;
    std::string target;  // name of the experiment or worker
    std::string device;  // clear only: one device of the worker; empty: all
    std::string reason;  // kept in the event log and with what it ends
};
// Why a job waits, or how it ended. `job`: its key or the first characters of it.
struct ExplainRequest {
    std::string job;
};

// ---- coordinator -> client
struct Submitted {
    ExperimentName experiment;
    std::int64_t cells = 0;
    std::int64_t new_cells = 0;
    std::int64_t done = 0;
    std::int64_t running = 0;
    std::int64_t failed_before = 0;
    std::int64_t impossible = 0;  // no attached worker can run them now
    std::int64_t former =
        0;  // it had them before and asks no more: those that waited are cancelled
};
struct Controlled {
    std::int64_t jobs = 0;  // that changed
    std::string words;      // what was done, one line for people
};
struct Explanation {
    JobKey key;
    std::string state;               // "waiting", "running", ...
    std::vector<std::string> lines;  // for people, the most telling one first
};
struct WorkerStatus {
    WorkerName worker;
    std::string host;
    std::string state;  // "idle", "busy", "lost", "draining"
    std::vector<DeviceInfo> devices;
    std::vector<RunningJob> running;
    std::int64_t silent_ms = 0;
    std::int64_t loads = 0;        // jobs handed out for which a runner had to load weights
    std::int64_t loads_saved = 0;  // jobs handed to a device whose runner held the weights
};
struct ExperimentStatus {
    ExperimentName experiment;
    std::map<std::string, std::int64_t>
        jobs;  // state -> count: waiting, running, done, failed, ...
    std::map<std::string, std::int64_t> failures;  // outcome class -> count
    std::map<std::string, std::int64_t> retries;   // why jobs were done again -> count
    std::vector<std::string> reasons;              // why waiting jobs wait, in words
    std::int64_t eta_ms = -1;                      // -1: not known
    std::string state;  // "running", "done", "paused: WHY", "stopped: 20 jobs failed (max_fails)"
};
struct StatusReply {
    std::vector<ExperimentStatus> experiments;
    std::vector<WorkerStatus> workers;
    std::string state;  // "running", "stopped: disk full ..." in words
};

// ---- either way
struct Refusal {
    ErrorCode code = ErrorCode::refused;
    std::string reason;
    int protocol_wanted = protocol_version;
};

using Message =
    std::variant<Hello, Heartbeat, Started, ResultDelivery, Goodbye, Welcome, Dispatch, Cancel,
                 ResultAck, Drain, Submit, StatusRequest, Shutdown, Submitted, StatusReply, Refusal,
                 Control, Controlled, ExplainRequest, Explanation>;

}  // namespace bitsweep
