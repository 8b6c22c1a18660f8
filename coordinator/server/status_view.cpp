#include "coordinator/server/status_view.h"

#include <algorithm>
#include <map>

#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/scheduler.h"

namespace bitsweep {

namespace {

using scheduler::Job;
using scheduler::State;

constexpr std::size_t most_reasons = 50;  // lines that a person still reads

// Waiting jobs that no device can tell apart share one look at the devices.
class Reasons {
 public:
    Reasons(const State& state, TimePoint now) : state_(state), now_(now) {}

    struct Entry {
        std::string words;
        bool impossible = false;
    };

    Entry of(const Job& job) {
        if (!std::holds_alternative<scheduler::Waiting>(job.state())) {
            return {scheduler::waiting_reason(state_, job, now_), false};
        }
        // The words may name the method, which the group does not know.
        auto& known = by_group_[{scheduler::group_of(state_, job), job.cell().method()}];
        if (known.words.empty()) {
            known = {scheduler::waiting_reason(state_, job, now_),
                     scheduler::is_hopeless(scheduler::nearest_obstacle(state_, job, now_))};
        }
        return known;
    }

 private:
    const State& state_;
    TimePoint now_;
    std::map<std::pair<scheduler::GroupKey, std::string>, Entry> by_group_;
};

std::int64_t usable_devices(const State& state) {
    std::int64_t count = 0;
    for (const auto& [session, worker] : state.workers()) {
        if (!worker.lost && !worker.draining) {
            count += std::count_if(worker.devices.begin(), worker.devices.end(),
                                   [](const auto& device) { return device.quarantine.empty(); });
        }
    }
    return count;
}

// Mean duration of the model's finished jobs, else of all; -1 when none finished yet.
double mean_ms(const State& state, const std::string& model) {
    const auto own = state.paces.find(model);
    if (own != state.paces.end() && own->second.jobs > 0) {
        return static_cast<double>(own->second.total_ms) / static_cast<double>(own->second.jobs);
    }
    scheduler::Pace all;
    for (const auto& [name, pace] : state.paces) {
        all.jobs += pace.jobs;
        all.total_ms += pace.total_ms;
    }
    return all.jobs == 0 ? -1 : static_cast<double>(all.total_ms) / static_cast<double>(all.jobs);
}

// Work that is left, spread over the devices; no claim about their differences.
class Eta {
 public:
    Eta(const State& state, TimePoint now) : state_(state), now_(now) {}

    void add(const Job& job) {
        const double mean = mean_ms(state_, job.cell().model().name);
        known_ = known_ && mean >= 0;
        double left = mean;
        if (const auto* running = std::get_if<scheduler::Running>(&job.state())) {
            left = std::max(0.0, mean - static_cast<double>((now_ - running->since).ms));
        }
        total_ms_ += left;
    }

    // No device is going to work on it; alone it may wait for ever.
    void add_impossible() { impossible_ = true; }

    std::int64_t value() const {
        const std::int64_t devices = usable_devices(state_);
        if (total_ms_ == 0 && known_) {
            return impossible_ ? -1 : 0;
        }
        return known_ && devices > 0
                   ? static_cast<std::int64_t>(total_ms_ / static_cast<double>(devices))
                   : -1;
    }

 private:
    const State& state_;
    TimePoint now_;
    double total_ms_ = 0;
    bool known_ = true;
    bool impossible_ = false;
};

std::vector<std::string> in_words(const std::map<std::string, std::int64_t>& reasons) {
    std::vector<std::pair<std::int64_t, std::string>> ranked;
    for (const auto& [words, count] : reasons) {
        ranked.emplace_back(-count, words);
    }
    std::sort(ranked.begin(), ranked.end());
    std::vector<std::string> lines;
    for (const auto& [negative, words] : ranked) {
        if (lines.size() == most_reasons) {
            lines.push_back("and " + std::to_string(ranked.size() - most_reasons) +
                            " more reasons");
            break;
        }
        lines.push_back(std::to_string(-negative) + (negative == -1 ? " job: " : " jobs: ") +
                        words);
    }
    return lines;
}

ExperimentStatus experiment_view(const State& state, TimePoint now,
                                 const scheduler::Experiment& experiment, Reasons& reasons) {
    ExperimentStatus view;
    view.experiment = experiment.name;
    view.retries = experiment.retries;
    std::map<std::string, std::int64_t> waiting;
    Eta eta(state, now);
    for (const scheduler::JobIndex index : experiment.jobs) {
        const Job& job = state.job(index);
        if (const auto* failed = std::get_if<scheduler::Failed>(&job.state())) {
            ++view.jobs["failed"];
            ++view.failures[std::string(to_string(failed->outcome))];
        } else if (scheduler::is_terminal(job.state())) {
            ++view.jobs[std::string(scheduler::state_word(job.state()))];
        } else if (std::holds_alternative<scheduler::Running>(job.state())) {
            ++view.jobs["running"];
            eta.add(job);
        } else {
            const Reasons::Entry reason = reasons.of(job);
            ++view.jobs[reason.impossible ? "impossible" : "waiting"];
            ++waiting[reason.words];
            reason.impossible ? eta.add_impossible() : eta.add(job);
        }
    }
    if (experiment.jobs.empty() && !experiment.left_out.empty()) {
        for (const auto& [why, count] : experiment.left_out) {
            view.jobs["impossible"] += count;
            waiting[why + "; waits for another kind"] += count;
        }
        view.eta_ms = -1;
    } else if (experiment.jobs.empty() && !experiment.templates.empty()) {
        const auto count = static_cast<std::int64_t>(experiment.templates.size());
        view.jobs["waiting"] += count;
        waiting[state.workers().empty() ? "no worker is attached"
                                        : "no attached kind of device runs these methods"] += count;
        view.eta_ms = -1;
    } else {
        view.eta_ms = eta.value();
    }
    for (const scheduler::JobIndex index : experiment.sentinels) {
        const Job& sentinel = state.job(index);
        if (!scheduler::is_terminal(sentinel.state())) {
            ++waiting["a sentinel of card " + sentinel.sentinel()->card + ", " +
                      std::string(scheduler::state_word(sentinel.state()))];
            eta.add(sentinel);
        }
    }
    view.eta_ms = experiment.sentinels.empty() ? view.eta_ms : eta.value();
    view.reasons = in_words(waiting);
    if (!experiment.stopped.empty()) {
        view.state = "stopped: " + experiment.stopped;
    } else if (scheduler::is_done(state, experiment)) {
        view.state = "done";
    } else {
        view.state = experiment.paused.empty() ? "running" : "paused: " + experiment.paused;
    }
    return view;
}

WorkerStatus worker_view(const State& state, TimePoint now, const scheduler::Worker& worker) {
    WorkerStatus view;
    view.worker = worker.name;
    view.host = worker.host;
    view.loads = worker.loads;
    view.loads_saved = worker.loads_saved;
    view.silent_ms = std::max<std::int64_t>(0, (now - worker.heard).ms);
    for (const scheduler::Device& device : worker.devices) {
        view.devices.push_back(device.info);
        if (!device.quarantine.empty()) {
            view.devices.back().facts["set_aside"] = device.quarantine;
        }
        if (!device.foreign.empty()) {
            view.devices.back().facts["foreign"] = device.foreign;
        }
        if (device.job) {
            const Job& job = state.job(*device.job);
            view.running.push_back({job.key(), job.attempt()});
        }
    }
    if (worker.lost) {
        view.state = "lost";
    } else if (worker.draining) {
        view.state = "draining";
    } else {
        view.state = view.running.empty() ? "idle" : "busy";
    }
    return view;
}

}  // namespace

StatusReply status_view(const State& state, TimePoint now, const ExperimentName& experiment,
                        const std::string& store_trouble) {
    StatusReply reply;
    Reasons reasons(state, now);
    for (const scheduler::Experiment& known : state.experiments()) {
        if (experiment.empty() || experiment == known.name) {
            reply.experiments.push_back(experiment_view(state, now, known, reasons));
        }
    }
    for (const auto& [session, worker] : state.workers()) {
        reply.workers.push_back(worker_view(state, now, worker));
    }
    reply.state = store_trouble.empty() ? "running" : "stopped: " + store_trouble;
    return reply;
}

}  // namespace bitsweep
