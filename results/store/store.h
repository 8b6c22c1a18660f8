// The one SQLite file. Only the coordinator opens it for writing; everybody else reads.
// WAL, synchronous=FULL; a transaction's effects are durable when transact() returns ok.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/job.h"
#include "schemas/run_result.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

// How a job stands: what changes in its life.
struct StoredState {
    JobKey key;
    std::string state;  // waiting | running | done | failed | cancelled
    Attempt attempt;    // last one handed out
    int crashes = 0;    // counted against policy.retries_crash
    int failures = 0;   // counted against policy.retries_fail
    WorkerName worker;  // of the running attempt
    SessionId session;
    std::string device;
    OutcomeClass last_outcome = OutcomeClass::done;  // of the newest finished attempt, if any
    std::string last_message;
    std::vector<std::string> kinds_tried;  // kinds of device where it ran out of memory
    std::uint64_t outgrew_bytes = 0;       // memory that was too little for it; 0: never
    int windows_again = 0;                 // measured again, because a window did not count
    std::string shown = "nothing";         // nothing | flagged | valid: what the views show of it
};

// A job as the database knows it; enough to rebuild the scheduler after a crash.
struct StoredJob : StoredState {
    Cell cell;
    JobKey reference = {};  // of a sentinel: the cell that it measures again
    std::string card = {};  // of a sentinel: where
};

// The same on its way into the database: what it refers to lives as long as the call.
struct JobView {
    const StoredState& state;
    const Cell& cell;
    std::string_view reference = {};
    std::string_view card = {};
};

struct StoredExperiment {
    ExperimentName name;
    std::string yaml;
    std::map<std::string, std::string> tags;
    TimePoint submitted;
    std::vector<Cell> templates;  // cells with gpu kind "*", for `gpu: {each: any}`
    std::int64_t max_fails = 0;   // so many failed jobs stop it; 0: no limit
};

// Whether an experiment asks for a job, or did before it was submitted with another file; or the
// job is none of its cells but watches a card for it.
enum class Membership { asked, former, sentinel };

// shown: the views show this attempt from now on; kept: they do not; verdict: of an attempt that is
// stored already, what was learnt later: its measurements are added to it.
enum class RunUse { shown, kept, verdict };

struct FinishedRun {
    RunResult result;
    WorkerName worker;
    std::string device;       // "cpu", "cuda:0"
    std::string device_kind;  // "cpu", ...
    std::string device_name;
    RunUse use = RunUse::shown;
};

// What may be written inside one transaction. Every call reports SQLite's words on failure.
class StoreWriter {
 public:
    virtual ~StoreWriter() = default;
    virtual Status put_experiment(const StoredExperiment& experiment) = 0;  // insert or replace
    // Inserts the job if its key is new, and links it to the experiment either way; its policy
    // becomes that of every link, since a job has one. As a former member: only says so of its
    // link. As a sentinel: it is no member and in no view of cells.
    virtual Status put_job(const ExperimentName& experiment, const JobView& job,
                           Membership membership) = 0;
    Status put_job(const ExperimentName& experiment, const StoredJob& job,
                   Membership membership = Membership::asked) {
        return put_job(experiment, JobView{job, job.cell, job.reference.value, job.card},
                       membership);
    }
    // How an existing job stands now.
    virtual Status set_job(const StoredState& job) = 0;
    // One finished attempt with all its measurements. A second result of the same (key, attempt)
    // changes nothing. Binds the model's and text's digests when none are bound.
    virtual Status put_run(const FinishedRun& run) = 0;
    // One line of the event log (JSON), for replay and for people.
    virtual Status put_event(TimePoint when, std::string_view kind, std::string_view json) = 0;
};

// What find() tells of a stored job.
struct KnownJob {
    std::int64_t id = 0;  // of its row
    JobKey key;
    std::string state;
    OutcomeClass last_outcome = OutcomeClass::done;  // of a failed job, as the next
    std::string last_message;
};

// A result set for people and programs.
struct Table {
    std::vector<std::string> columns;
    enum class Kind { null, integer, real, text };
    struct Value {
        Kind kind = Kind::null;
        std::int64_t integer = 0;
        double real = 0;
        std::string text;
    };
    std::vector<std::vector<Value>> rows;
};

// What another tool's lock means: a moment's wait, or an error at once for who has other things to
// do and comes again.
enum class WhenLocked { wait, fail };

enum class OpenMode {
    read_write,  // creates and migrates; takes the writer lock: a second writer gets already_exists
    read_only,   // not_found when the file does not exist; unsupported for a newer schema
};

class Store {
 public:
    virtual ~Store() = default;

    // Errors: not_found, unsupported (newer schema, with both numbers), already_exists (another
    // coordinator writes it), io (read-only, disk full), corrupt (not a bitsweep database).
    static Result<std::unique_ptr<Store>> open(const std::filesystem::path& file, OpenMode mode);

    // Runs `body` in one transaction; commits when it returns ok, else rolls back. io when the disk
    // is full or the file is read-only or locked: nothing was written.
    virtual Status transact(const std::function<Status(StoreWriter&)>& body,
                            WhenLocked when_locked = WhenLocked::wait) = 0;

    virtual Result<std::vector<StoredExperiment>> experiments() = 0;
    virtual Result<std::vector<StoredJob>> jobs(
        const ExperimentName& experiment) = 0;  // empty name: all

    // For each cell, in their order, the stored job of the same cell: same spec key and revision,
    // and equal digests where both sides know them (the model's and text's bound digests fill the
    // gaps). Of several, the newest that has a result.
    virtual Result<std::vector<std::optional<KnownJob>>> find(std::span<const Cell> cells) = 0;

    // Read-only SQL; invalid_input with SQLite's words. Refuses statements that would write.
    virtual Result<Table> query(const std::string& sql) = 0;
};

}  // namespace bitsweep
