#include "tests/sim/sim_worker.h"

#include <algorithm>

namespace bitsweep::sim {

void SimWorker::start(TimePoint now) {
    session_ = name_ + "-" + std::to_string(++processes_);
    agent::Options options;
    options.self.worker = WorkerName{name_};
    options.self.session = SessionId{session_};
    options.self.host = name_;
    options.self.models = {"m", "n"};
    options.self.devices = devices_;
    for (const auto& [id, result] : disk_) {
        options.undelivered.push_back({result, ""});
    }
    machine_ = std::make_unique<agent::Machine>(std::move(options), now);
    link_up(now);
}

void SimWorker::kill(TimePoint now, Duration away) {
    machine_.reset();
    children_.clear();
    said_.clear();
    unheard_.clear();
    back_at_ = now + away;
}

void SimWorker::freeze(TimePoint now, Duration asleep) {
    frozen_until_ = now + asleep;
}

void SimWorker::stop(TimePoint now) {
    feed(now, agent::StopAsked{});
}

void SimWorker::link_lost(TimePoint now) {
    feed(now, agent::LinkDown{"connection lost"});
}

void SimWorker::link_up(TimePoint now) {
    feed(now, agent::LinkUp{});
}

void SimWorker::feed(TimePoint now, const agent::Event& event) {
    if (!machine_) {
        return;
    }
    for (agent::Command& command : machine_->step(now, event)) {
        obey(now, command);
        if (!machine_) {
            return;
        }
    }
}

void SimWorker::obey(TimePoint now, agent::Command& command) {
    if (auto* send = std::get_if<agent::Send>(&command)) {
        said_.push_back(std::move(send->message));
    } else if (auto* start = std::get_if<agent::StartJob>(&command)) {
        const bool busy = std::any_of(children_.begin(), children_.end(), [&](const Child& child) {
            return child.job.device == start->dispatch.device;
        });
        if (busy && on_breach) {
            on_breach("two runners on " + start->dispatch.device + " of " + session_);
        }
        const bool hangs = chance(random_, hang_share);
        const Duration length{between(random_, 200, 6'000)};
        children_.push_back(
            {std::move(start->dispatch), now + (hangs ? Duration{1'000'000'000} : length)});
    } else if (auto* kill_job = std::get_if<agent::KillJob>(&command)) {
        for (Child& child : children_) {
            if (child.job.key == kill_job->key && child.job.attempt == kill_job->attempt) {
                child.killed = true;
                child.end = now + Duration{between(random_, 1, 500)};
            }
        }
    } else if (auto* keep = std::get_if<agent::KeepResult>(&command)) {
        const RunResult& result = keep->kept.result;
        disk_[{result.key, result.attempt}] = result;
    } else if (auto* drop = std::get_if<agent::DropResult>(&command)) {
        disk_.erase({drop->key, drop->attempt});
    } else if (std::holds_alternative<agent::Reconnect>(command)) {
        connect_anew_ = true;
    } else if (std::holds_alternative<agent::Leave>(command)) {
        // Its person starts it again.
        const std::vector<Message> last_words = std::move(said_);
        kill(now, Duration{between(random_, 1'000, 5'000)});
        said_ = last_words;
    }
}

std::string SimWorker::kind_of(const std::string& id) const {
    for (const DeviceInfo& device : devices_) {
        if (device.id == id) {
            return device.kind;
        }
    }
    return {};
}

RunResult SimWorker::outcome_of(const Child& child, TimePoint now) {
    RunResult result;
    result.key = child.job.key;
    result.attempt = child.job.attempt;
    result.finished_unix_ms = now.unix_ms;
    const std::string kind = kind_of(child.job.device);
    const bool poison = child.job.spec.seed == poison_seed;
    const bool crashes = chance(random_, crash_share);
    const bool fails = chance(random_, failure_share);
    const bool faults = chance(random_, fault_share) && kind != "cpu";
    if (child.killed) {
        result.outcome = {OutcomeClass::cancelled, "killed", ""};
    } else if (child.job.spec.seed == large_seed && kind == small_card) {
        result.outcome = {OutcomeClass::out_of_gpu_memory, "out of memory", "asked for 20 GiB"};
    } else if (faults) {
        result.outcome = {OutcomeClass::gpu_fault, "illegal address", ""};
    } else if (poison || crashes) {
        result.outcome = {OutcomeClass::crash, "signal 11", ""};
    } else if (fails) {
        result.outcome = {OutcomeClass::failure, "no such tensor", ""};
    }
    measure(child, result);
    return result;
}

void SimWorker::measure(const Child& child, RunResult& result) {
    const bool disturbed = chance(random_, disturbed_share);
    const bool drifts = chance(random_, drift_share);
    const double noise = 1 + static_cast<double>(between(random_, -10, 10)) / 1'000;
    const double other = static_cast<double>(between(random_, 80, 120)) / 100;
    double& speed = speed_.emplace(child.job.device, 1.0).first->second;
    speed = drifts ? other : speed;
    if (result.outcome.outcome == OutcomeClass::done) {
        result.measurements.push_back({"decode_tokens_per_s", "token/s", 0, 100 * speed * noise});
        if (disturbed) {
            result.measurements.push_back({"window_throttled", "1", 0, 1});
        }
    }
}

std::vector<Message> SimWorker::tick(TimePoint now) {
    if (awake(now)) {
        if (std::exchange(connect_anew_, false)) {
            link_up(now);
        }
        for (const Message& message : std::exchange(unheard_, {})) {
            feed(now, agent::Received{message});
        }
        std::vector<Child> ended;
        std::erase_if(children_, [&](const Child& child) {
            if (child.end <= now) {
                ended.push_back(child);
            }
            return child.end <= now;
        });
        for (const Child& child : ended) {
            feed(now, agent::JobEnded{outcome_of(child, now)});
        }
        if (machine_ && machine_->next_wake() <= now) {
            feed(now, agent::Tick{});
        }
    }
    return std::exchange(said_, {});
}

void SimWorker::receive(TimePoint now, const Message& message) {
    if (awake(now)) {
        feed(now, agent::Received{message});
    } else if (alive()) {
        unheard_.push_back(message);
    }
}

}  // namespace bitsweep::sim
