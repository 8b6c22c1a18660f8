// What must hold whatever happens: one function for each promise. A breach is a sentence.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/server/loop.h"
#include "tests/sim/fake_store.h"
#include "tests/sim/sim_worker.h"

namespace bitsweep::sim {

// What the person of the simulator gives as a reason.
inline constexpr const char* order_reason = "as rolled";

class Checkers {
 public:
    using Breach = std::function<void(const std::string&)>;
    Checkers(const FakeStore& store, Breach breach) : store_(store), breach_(std::move(breach)) {}

    // ---- on everything that leaves the coordinator
    void dispatch(const Dispatch& dispatch, const std::string& session);
    void acknowledgement(const ResultAck& ack);
    void submitted(const ExperimentName& experiment);
    void obeyed(const Controlled& answer);

    // ---- on every write that hands a job out to a device of this kind
    void handed_out(const StoredState& job, const FakeStore::Contents& before,
                    const std::string& kind);

    // ---- after a turn of the coordinator: its indexes are right; with a working store, memory and
    // store say the same
    void agreement(const Loop& loop);

    // ---- when all is over
    void end(const std::vector<std::unique_ptr<SimWorker>>& workers);

    // What the log says now.
    bool is_paused() const { return is_paused(store_.contents()); }
    bool is_stopped() const { return is_stopped(store_.contents()); }  // cancelled, or by max_fails
    bool is_cancelled() const;                                         // by the person
    std::vector<std::string> quarantined() const { return quarantined(store_.contents()); }

 private:
    using Contents = FakeStore::Contents;
    static bool is_paused(const Contents& contents);
    static bool is_stopped(const Contents& contents);
    static std::vector<std::string> quarantined(const Contents& contents);  // "worker/device"

    void persisted_first(const Dispatch& dispatch, const std::string& session);
    void watched_by_sentinels(const StoredState& job, const Contents& before);
    void what_is_shown();
    void drift_is_flagged();
    void alone_on_its_device(const Dispatch& dispatch, const std::string& session);

    const FakeStore& store_;
    Breach breach_;
    std::int64_t pauses_answered_ = 0;
    std::int64_t cancels_answered_ = 0;
    std::map<std::string, int> since_sentinel_;  // jobs handed out, by card
};

// Feeds a recorded life of a coordinator to a fresh scheduler and compares the outcome.
class Recording {
 public:
    void begin(scheduler::Snapshot snapshot, TimePoint now);
    void add(TimePoint now, const scheduler::Event& event) { events_.emplace_back(now, event); }

    enum class Replay { faithful, without_one };  // the second shows that the comparison can fail
    // A sentence, or empty when the state is the same.
    std::string difference(const scheduler::Scheduler& real, Replay how) const;

 private:
    scheduler::Snapshot snapshot_;
    TimePoint began_{};
    std::vector<std::pair<TimePoint, scheduler::Event>> events_;
};

}  // namespace bitsweep::sim
