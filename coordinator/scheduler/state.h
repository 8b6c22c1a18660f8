// All that the scheduler remembers, with the indexes that make a step cheap. Handlers change jobs
// only through change() and edit(), which keep the indexes right; invariants.h proves that they do.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduler/cell_table.h"
#include "coordinator/scheduler/command.h"
#include "coordinator/scheduler/job.h"
#include "coordinator/scheduler/key_index.h"
#include "coordinator/scheduler/options.h"
#include "coordinator/scheduler/queue.h"
#include "coordinator/scheduler/transition.h"
#include "schemas/message.h"

namespace bitsweep::scheduler {

using JobIndex = std::uint32_t;  // position in State::jobs(); never reused

struct Device {
    DeviceInfo info;
    std::optional<JobIndex> job;  // the attempt that this device is trusted to run
    std::string last_model;       // its runner may still hold these weights
    std::string quarantine;       // why it gets no job; empty: it may
    std::string foreign;          // who else computes there; empty: nobody
};

// A device that had a sticky error, until a person says that it is sound.
struct Quarantine {
    WorkerName worker;
    std::string device;
    std::string reason;
};

struct Worker {
    WorkerName name;
    SessionId session;
    std::string host;
    std::vector<Device> devices;
    std::set<std::string> models;  // lower case
    TimePoint heard;
    TimePoint answered;  // last told that somebody listens
    bool lost = false;   // silent for a lease; comes back with its next word
    bool draining = false;
    std::optional<TimePoint> ends;  // of its own accord
    std::int64_t loads = 0;         // jobs for which weights had to be loaded
    std::int64_t loads_saved = 0;   // jobs that found them in the runner

    Device* find_device(const std::string& id);
    const Device* find_device(const std::string& id) const;
};

struct Experiment {
    ExperimentName name;
    std::vector<JobIndex> jobs;  // in the order of its cells
    // Members that the newest submission has not named: its templates may still make them.
    std::set<JobIndex> unnamed;
    std::vector<Cell> templates;
    std::set<std::string> kinds;  // for which the templates were made concrete in this process
    // Cells that `where` left out for those kinds, by why.
    std::map<std::string, std::int64_t> left_out;
    bool force = false;           // of its latest submission: new kinds are run again too
    bool retry_failed = false;
    std::map<std::string, std::int64_t> retries;  // why attempts were done again -> count
    std::string paused;                           // why nothing of it is handed out; empty: it is
    std::string stopped;                          // why it was ended; empty: it was not
    std::int64_t max_fails = 0;                   // so many failed jobs stop it; 0: no limit
    std::int64_t failures = 0;        // since it was submitted, resumed or tried again last
    std::vector<JobIndex> sentinels;  // jobs that are none of its cells
};

// What is known of one card between two sentinels of one experiment.
struct Watch {
    JobIndex sentinel = 0;
    bool open = false;      // a sentinel was measured, and nothing was lost since
    double rate = 0;        // of it
    Attempt attempt;        // of it
    int jobs = 0;           // handed out to the card since the last sentinel
    bool wanted = true;     // before the next job, however few there were
    bool attached = false;  // the card was seen since
    std::vector<std::pair<JobIndex, Attempt>> measured;  // since: they stand and fall together
};
using WatchKey = std::pair<std::string, std::uint32_t>;  // card, index of the experiment

// Waiting jobs that no device can tell apart: same rank, model, kind, needs and time limit.
struct GroupKey {
    bool held = false;  // every experiment that wants them is paused
    int rank = 0;       // negative priority: the smallest goes first
    std::string model;
    std::string gpu;
    std::uint64_t bytes = 0;
    std::uint64_t reference_bytes = 0;
    int backends = 0;  // bit 0 CPU, bit 1 CUDA
    std::int64_t timeout_ms = 0;
    std::string avoided;      // kinds, sizes and sessions where the job must not go
    std::uint32_t guard = 0;  // 1 + the experiment whose sentinels watch it; 0: none do
    std::string card;         // of a sentinel
    auto operator<=>(const GroupKey&) const = default;
};

// How long jobs of one model took, for the ETA.
struct Pace {
    std::int64_t jobs = 0;
    std::int64_t total_ms = 0;
};

class State {
 public:
    // The key must be new and one that PackedKey holds; the job comes last in run order.
    // `record`: without its cell.
    JobIndex add(const JobRecord& record, const Cell& cell, Needs needs);
    // So many are about to be added: room for them, and not for twice as many.
    void expect(std::size_t more);
    std::optional<JobIndex> find(const JobKey& key) const;
    const Job& job(JobIndex index) const { return jobs_[index]; }
    const std::vector<Job>& jobs() const { return jobs_; }

    // Applies one row of the transition table. refused: unchanged.
    Status change(JobIndex index, const Trigger& trigger);

    // Changes what is not state: exclusions, order, policy.
    template <class Edit>
    void edit(JobIndex index, Edit&& change_job) {
        ++changes;
        unindex(index);
        change_job(jobs_[index]);
        jobs_[index].close();
        this->index(index);
    }
    void set_policy(JobIndex index, const JobPolicy& policy);

    void attach(Worker worker);  // the session must be new; running jobs of it take their devices
    void detach(const SessionId& session);
    Worker* find_worker(const SessionId& session);
    const Worker* find_worker(const SessionId& session) const;
    Worker* find_worker(const WorkerName& name);
    std::map<SessionId, Worker>& workers() { return workers_; }
    const std::map<SessionId, Worker>& workers() const { return workers_; }

    Experiment& experiment(const ExperimentName& name);  // made when missing
    const Experiment* find_experiment(const ExperimentName& name) const;
    Experiment* find_experiment(const ExperimentName& name);
    std::vector<Experiment>& experiments() { return experiments_; }
    const std::vector<Experiment>& experiments() const { return experiments_; }
    // A sentinel becomes the experiment's.
    void own(const ExperimentName& experiment, JobIndex sentinel);
    // False when it was a member already.
    bool link(const ExperimentName& experiment, JobIndex index);
    // `members` belong to it no more. All of them are over, run, or are wanted elsewhere.
    void unlink(Experiment& experiment, const std::set<JobIndex>& members);
    void set_paused(Experiment& experiment, std::string why);  // empty: goes on
    bool is_held(const Job& job) const;    // every experiment that wants it is paused
    bool is_wanted(const Job& job) const;  // one of its experiments was not ended
    bool is_watched(Protocol protocol) const { return windows(protocol).sentinel_every > 0; }
    // An experiment other than `than` that was not ended wants the job.
    bool is_wanted_elsewhere(const Job& job, const Experiment& than) const;

    const std::map<GroupKey, Queue>& ready() const { return ready_; }
    const std::set<std::pair<TimePoint, JobIndex>>& deadlines() const { return deadlines_; }
    const std::set<JobIndex>& running() const { return running_; }

    // No worker is silent for too long before then; nothing: there is none. Words of workers move
    // it no further, so that they need not look at every other worker (workers.cpp).
    std::optional<TimePoint> silence_due;
    std::uint64_t next_order = 0;
    // Raised by everything that may let a waiting job go to a device: a heartbeat that says nothing
    // new must cost nothing, however many jobs wait for a device that is not there.
    std::uint64_t changes = 0;
    SafetyRules rules;                                  // Options::rules
    Affinity affinity = Affinity::weights;              // Options::affinity
    WindowPolicy (*windows)(Protocol) = window_policy;  // Options::windows
    std::uint64_t cuda_context_bytes = 0;               // Options::cuda_context_bytes
    bool store_away = false;                            // the store cannot be written
    std::map<std::string, std::string> bound_models;  // name -> weights digest of the first result
    std::map<std::string, std::string> bound_texts;
    std::map<std::string, Pace> paces;              // by model
    std::map<std::string, Quarantine> quarantines;  // by card
    std::map<std::string, std::uint64_t> peaks;     // by footprint (placement.h): bytes measured
    std::map<SessionId, WorkerName> replaced;       // processes whose name a newer process took
    std::map<WatchKey, Watch> watches;

 private:
    void index(JobIndex index);
    void unindex(JobIndex index);
    Device* device_of(const Running& running);
    void set_owners(JobIndex index, Owners owners);

    CellTable cells_;
    std::set<Owners> owners_;  // every set of experiments that some job belongs to
    std::vector<Job> jobs_;    // refers to both
    KeyIndex by_key_;
    std::map<SessionId, Worker> workers_;
    std::vector<Experiment> experiments_;
    std::map<ExperimentName, std::uint32_t> experiment_by_name_;
    std::map<GroupKey, Queue> ready_;
    std::set<std::pair<TimePoint, JobIndex>> deadlines_;  // leases and ends of delays
    std::set<JobIndex> running_;
};

GroupKey group_of(const State& state, const Job& job);

// 1 + the index of the experiment whose sentinels watch this job; 0: its protocol has none, or it
// is one.
std::uint32_t guard_of(const State& state, const Job& job);

// What weights a runner keeps for it: the name, and the seed of random weights.
std::string model_identity(const ModelRef& model);

}  // namespace bitsweep::scheduler
