// The scheduler: a pure state machine. No sockets, clock, database, files, threads or randomness;
// the same events at the same times give the same commands.
//
// It promises (each promise has a checker in tests/sim, and a mutant that dies):
//   - a result counts only for the attempt that is running; every other one is acknowledged, so
//     that the worker's outbox empties, and changes nothing;
//   - one live attempt per device;
//   - silence takes a job back after one lease, and the next attempt has a higher number;
//   - a job that ended stays as it is until somebody asks to run it again.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduler/command.h"
#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/options.h"
#include "coordinator/scheduler/state.h"

namespace bitsweep::scheduler {

// What the store knows, for a restart.
struct Snapshot {
    struct Sweep {
        ExperimentName name;
        std::vector<JobKey> jobs;
        std::vector<Cell> templates;
        std::map<std::string, std::int64_t> retries = {};
        std::string paused = {};
        std::string stopped = {};
        std::int64_t max_fails = 0;
        std::int64_t failures = 0;
    };
    struct Sentinel {
        ExperimentName experiment;
        JobRecord job;                      // without a cell: that is made from the reference's
        double rate = 0;                    // of its newest measurement; 0: none
        Attempt attempt;                    // of the same
        std::vector<JobKey> measured = {};  // whose shown run came after it
    };
    std::vector<JobRecord> jobs;  // in run order
    std::vector<Sentinel> sentinels;
    std::vector<Sweep> experiments;
    std::map<std::string, std::string> bound_models;
    std::map<std::string, std::string> bound_texts;
    std::map<std::string, Quarantine> quarantines;
    std::map<std::string, Pace> paces;
    std::map<std::string, std::uint64_t> peaks;
};

class Scheduler {
 public:
    explicit Scheduler(Options options);

    // Once, before the first step. Running jobs keep their attempt and wait one lease for their
    // worker to come back.
    void restore(Snapshot snapshot, TimePoint now);

    std::vector<Command> step(TimePoint now, const Event& event);

    // When a Tick is due at the latest; nullopt: only events can change anything.
    std::optional<TimePoint> next_deadline() const;

    const State& state() const { return state_; }
    const Options& options() const { return options_; }

 private:
    Options options_;
    State state_;
    std::uint64_t placed_at_ = 0;  // State::changes when jobs were last placed
};

// All jobs are terminal, and templates have met at least one kind of device.
bool is_done(const State& state, const Experiment& experiment);

}  // namespace bitsweep::scheduler
