// One simulated machine: the real session machine of worker/agent, a made-up runner, and an outbox
// that survives the process.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "worker/agent/agent.h"

namespace bitsweep::sim {

using Random = std::mt19937_64;

// Uniform in [low, high]; the same on every platform, unlike std::uniform_int_distribution.
inline std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
}
inline bool chance(Random& random, double share) {
    return static_cast<double>(random() >> 11) * 0x1.0p-53 < share;
}

class SimWorker {
 public:
    SimWorker(std::string name, std::vector<DeviceInfo> devices, Random& random)
        : name_(std::move(name)), devices_(std::move(devices)), random_(random) {}

    void start(TimePoint now);
    void kill(TimePoint now, Duration away);      // SIGKILL: the outbox on disk stays
    void freeze(TimePoint now, Duration asleep);  // SIGSTOP: no word, nothing lost
    void stop(TimePoint now);                     // SIGINT: gives its jobs back and leaves
    void link_lost(TimePoint now);                // the coordinator went away
    void link_up(TimePoint now);

    bool alive() const { return machine_ != nullptr; }
    bool awake(TimePoint now) const { return alive() && now >= frozen_until_; }
    const std::string& session() const { return session_; }
    const std::string& name() const { return name_; }
    bool outbox_empty() const { return disk_.empty(); }
    TimePoint back_at() const { return back_at_; }

    // What the machine says, in order; the network takes it.
    std::vector<Message> tick(TimePoint now);
    void receive(TimePoint now, const Message& message);

    std::string kind_of(const std::string& device) const;

    double crash_share = 0.1;  // of the attempts that do not belong to a job that always crashes
    double failure_share = 0;
    double fault_share = 0;  // of the attempts on a card
    double hang_share = 0;
    double disturbed_share = 0;  // of the windows
    double drift_share = 0;      // of the attempts after which the device has another speed
    std::function<void(const std::string&)> on_breach;

 private:
    struct Child {
        Dispatch job;
        TimePoint end;
        bool killed = false;
    };
    void feed(TimePoint now, const agent::Event& event);
    void obey(TimePoint now, agent::Command& command);
    RunResult outcome_of(const Child& child, TimePoint now);
    void measure(const Child& child, RunResult& result);

    std::string name_;
    std::vector<DeviceInfo> devices_;
    Random& random_;
    std::unique_ptr<agent::Machine> machine_;
    std::string session_;
    int processes_ = 0;
    std::vector<Child> children_;
    std::map<std::string, double> speed_;  // of each device; 1 at first
    std::map<std::pair<JobKey, Attempt>, RunResult> disk_;
    bool connect_anew_ = false;
    std::vector<Message> said_;
    std::vector<Message> unheard_;  // arrived while asleep
    TimePoint frozen_until_{0};
    TimePoint back_at_{0};
};

// A job whose seed is this one crashes every time; with the other one its memory runs out on every
// card of the kind "card small".
inline constexpr std::uint64_t poison_seed = 666;
inline constexpr std::uint64_t large_seed = 777;
inline const std::string small_card = "card-small";
inline const std::string large_card = "card-large";

}  // namespace bitsweep::sim
