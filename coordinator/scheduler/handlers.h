// One function for each event, and what they share. Only scheduler.cpp and the handler files
// include this.
#pragma once

#include <string>
#include <vector>

#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/scheduler/state.h"

namespace bitsweep::scheduler {

// One step in progress.
struct Step {
    State& state;
    const Options& options;
    TimePoint now;
    std::vector<Command>& out;

    void store(JobIndex index) { out.push_back(StoreJob{state.job(index).record()}); }
    void send(const SessionId& to, WorkerMessage message) {
        out.push_back(Send{to, std::move(message)});
    }
    void log(std::string kind, const Job& job, std::string text) {
        out.push_back(LogEvent{std::move(kind), job.key(), job.attempt(), std::move(text)});
    }
    void log(std::string kind, std::string text) {
        out.push_back(LogEvent{std::move(kind), {}, {}, std::move(text)});
    }
    void log(std::string kind, const Experiment& experiment, std::string text) {
        out.push_back(LogEvent{std::move(kind), {}, {}, std::move(text), experiment.name});
    }
    // About a device: `text` is the reason alone, which a restart reads back.
    void log_device(std::string kind, const Job* job, const Quarantine& what,
                    const std::string& card) {
        LogEvent event{std::move(kind), {}, {}, what.reason, {}, what.worker, what.device, card};
        if (job != nullptr) {
            event.key = job->key();
            event.attempt = job->attempt();
        }
        out.push_back(std::move(event));
    }
    // For what the handler has checked before: a refusal of the table is then a bug.
    void change(JobIndex index, const Trigger& trigger);
};

// workers.cpp
void on(Step& step, const Hello& hello);
void on(Step& step, const Heartbeat& heartbeat);
void on(Step& step, const Goodbye& goodbye);
void on(Step& step, const DispatchUnsent& unsent);
void on(Step& step, const Tick& tick);

// The worker spoke just now.
void note_heard(Step& step, Worker& worker);

// attempts.cpp
void on(Step& step, const Started& started);
void on(Step& step, const ResultArrived& arrived);

// windows.cpp
// Another attempt for a cell whose newest window does not count, unless its protocol's number is
// used up or nobody wants it any more. Stores the job. True: it will be.
bool measure_again(Step& step, JobIndex index, const std::string& flag);
// The result with what the coordinator knows of its window.
std::shared_ptr<const RunResult> with_notes(const Step& step, JobIndex index,
                                            const std::string& card, const std::string& flag,
                                            std::shared_ptr<const RunResult> result);
// A measurement stands: it belongs to the window of its card, or, of a sentinel, ends one.
void note_measured(Step& step, JobIndex index, const std::string& card, const RunResult& result);
void note_handed_out(Step& step, JobIndex index, const std::string& card);
// A sentinel will not be measured: nothing is known of what its card did since the last one.
void give_up_sentinel(Step& step, JobIndex index, const std::string& why);
// Sentinels of cards that went away are dropped.
void tend_sentinels(Step& step);
// Where the experiment has nothing more for this card, a last sentinel ends the window.
void close_windows(Step& step, const Worker& worker, const Device& device);
// What the device gets when `chosen` is next: the job itself, or the sentinel that is due.
JobIndex with_sentinel(Step& step, const Worker& worker, const Device& device, JobIndex chosen);
void restore_sentinels(State& state, const Options& options,
                       std::vector<Snapshot::Sentinel> sentinels, TimePoint now);

// submissions.cpp
void on(Step& step, const Submission& submission);
void on(Step& step, const CellsResolved& resolved);

// orders.cpp
void on(Step& step, const Control& control);

enum class Reach { everything, not_running };
struct Stopped {
    std::int64_t jobs = 0;
    std::int64_t running = 0;  // of them, told to stop
};
// Ends the members that are not over and that no other experiment wants.
Stopped stop_members(Step& step, Experiment& experiment, const std::string& why, Reach reach);

enum class Reopening { cancelled, failed_and_cancelled };
// They leave the experiment, which was submitted without them: what waits and no other experiment
// wants is cancelled, what runs may finish, results stay. How many were cancelled.
std::int64_t withdraw_members(Step& step, Experiment& experiment,
                              const std::set<JobIndex>& members);

// How many run again.
std::int64_t reopen_members(Step& step, Experiment& experiment, Reopening which);

// Neither paused nor stopped any more, with a fresh count of failures.
void go_on(Step& step, Experiment& experiment);

// The devices of this worker, or the one named, are sound again. How many were set aside.
std::int64_t clear_quarantines(Step& step, const WorkerName& worker, const std::string& device);

// scheduler.cpp
void on(Step& step, const StoreFailed& failed);
void on(Step& step, const StoreMended& mended);

// The running attempt ended without success: counts it, and waits, delays or gives up by the
// table in retry.cpp. Stores the job. `outcome.outcome` is not done.
void end_attempt(Step& step, JobIndex index, const Outcome& outcome);

// The same for an attempt whose worker said nothing: what the coordinator knows is stored as its
// result, with the evidence.
void end_unheard(Step& step, JobIndex index, OutcomeClass outcome, std::string message);

// The deadline that a sign of life now buys: one lease, but never past the overtime of the job.
TimePoint lease_for(const Step& step, const Job& job, TimePoint since);

// The digests that a worker's files must have; empty: whoever runs it first binds them.
const std::string& expected_weights(const State& state, const PackedCell& cell);
const std::string& expected_dataset(const State& state, const PackedCell& cell);

// Makes the templates of an experiment concrete for every attached kind it has not met.
void instantiate(Step& step, Experiment& experiment);

// Says the running attempt of a job to its worker; heard twice it changes nothing there.
void send_dispatch(Step& step, JobIndex index);

// Gives waiting jobs to free devices until nothing fits.
void place(Step& step);

}  // namespace bitsweep::scheduler
