// What people order: pause, resume, cancel and retry of an experiment; drain and clear of a worker.
#include <algorithm>

#include "coordinator/scheduler/handlers.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/scheduler.h"

namespace bitsweep::scheduler {

namespace {

using Answered = Result<Controlled>;

std::string count_of_jobs(std::int64_t jobs) {
    return std::to_string(jobs) + (jobs == 1 ? " job" : " jobs");
}

std::string reason_of(const Control& control, const char* otherwise) {
    return control.reason.empty() ? otherwise : control.reason;
}

std::int64_t count_waiting(const State& state, const Experiment& experiment) {
    return std::count_if(experiment.jobs.begin(), experiment.jobs.end(), [&](JobIndex index) {
        const JobState& job = state.job(index).state();
        return !is_terminal(job) && !std::holds_alternative<Running>(job);
    });
}

Answered pause(Step& step, Experiment& experiment, const Control& control) {
    const std::string& name = experiment.name.value;
    if (!experiment.stopped.empty()) {
        return make_error(ErrorCode::refused,
                          "experiment " + name + " has ended already: " + experiment.stopped);
    }
    if (is_done(step.state, experiment)) {
        return make_error(ErrorCode::refused, "experiment " + name + " is done: nothing to pause");
    }
    const bool before = !experiment.paused.empty();
    step.state.set_paused(experiment, reason_of(control, "by request"));
    step.log("paused", experiment, experiment.paused);
    const std::int64_t waiting = count_waiting(step.state, experiment);
    return Controlled{waiting, (before ? "was paused already: " : "paused ") + name + ": " +
                                   count_of_jobs(waiting) + " held until `bitsweep resume " + name +
                                   "`"};
}

Answered resume(Step& step, Experiment& experiment, const Control&) {
    const std::string& name = experiment.name.value;
    if (experiment.stopped.empty() && experiment.paused.empty()) {
        return make_error(ErrorCode::refused, "experiment " + name + " is not paused");
    }
    std::int64_t jobs = 0;
    if (!experiment.stopped.empty()) {
        jobs = reopen_members(step, experiment, Reopening::cancelled);
    }
    go_on(step, experiment);
    step.log("resumed", experiment, name);
    instantiate(step, experiment);
    jobs = std::max(jobs, count_waiting(step.state, experiment));
    return Controlled{jobs, "resumed " + name + ": " + count_of_jobs(jobs) + " to do"};
}

Answered cancel(Step& step, Experiment& experiment, const Control& control) {
    const std::string& name = experiment.name.value;
    // An experiment that only has templates has nothing to end yet, and gets no jobs any more.
    if (is_done(step.state, experiment)) {
        return make_error(ErrorCode::refused, "experiment " + name + " is done: nothing to cancel");
    }
    const std::string why = reason_of(control, "cancelled by request");
    const Stopped ended = stop_members(step, experiment, why, Reach::everything);
    return Controlled{ended.jobs, "cancelled " + name + ": " + count_of_jobs(ended.jobs) +
                                      " ended, " + std::to_string(ended.running) +
                                      " of them told to stop while running"};
}

Answered retry(Step& step, Experiment& experiment, const Control&) {
    const std::int64_t jobs = reopen_members(step, experiment, Reopening::failed_and_cancelled);
    const std::string& name = experiment.name.value;
    if (jobs == 0) {
        return make_error(ErrorCode::refused,
                          "experiment " + name + " has no failed or cancelled job to try again");
    }
    go_on(step, experiment);
    step.log("retried", experiment, name);
    instantiate(step, experiment);
    return Controlled{jobs, "trying " + count_of_jobs(jobs) + " of " + name + " again"};
}

Answered drain(Step& step, const Control& control) {
    Worker* worker = step.state.find_worker(WorkerName{control.target});
    if (worker == nullptr) {
        return make_error(ErrorCode::not_found, "no worker " + control.target +
                                                    " is attached; `bitsweep status` lists them");
    }
    worker->draining = true;
    step.send(worker->session, Drain{});
    step.log("draining", "worker " + worker->name.value);
    std::int64_t running = 0;
    for (const Device& device : worker->devices) {
        running += device.job ? 1 : 0;
    }
    return Controlled{
        running, "worker " + worker->name.value + " takes no further job; it leaves" +
                     (running > 0 ? " after the " + count_of_jobs(running) + " that it runs" : "")};
}

Answered clear(Step& step, const Control& control) {
    const WorkerName name{control.target};
    const std::int64_t cleared = clear_quarantines(step, name, control.device);
    if (cleared == 0) {
        return make_error(ErrorCode::refused,
                          "no device " + (control.device.empty() ? "" : control.device + " ") +
                              "of worker " + name.value + " is set aside");
    }
    return Controlled{cleared, std::to_string(cleared) + (cleared == 1 ? " device" : " devices") +
                                   " of worker " + name.value + " may run jobs again"};
}

using Order = Answered (*)(Step&, Experiment&, const Control&);

// Of an experiment, in the order of ControlAction.
constexpr Order orders[] = {pause, resume, cancel, retry};

Answered obey(Step& step, const Control& control) {
    if (control.action == ControlAction::drain) {
        return drain(step, control);
    }
    if (control.action == ControlAction::clear) {
        return clear(step, control);
    }
    Experiment* experiment = step.state.find_experiment(ExperimentName{control.target});
    if (experiment == nullptr) {
        return make_error(ErrorCode::not_found,
                          "no experiment " + control.target + "; `bitsweep status` lists them");
    }
    return orders[static_cast<std::size_t>(control.action)](step, *experiment, control);
}

void end_job(Step& step, JobIndex index, const std::string& why, Stopped& ended) {
    const Job& job = step.state.job(index);
    if (const auto* running = std::get_if<Running>(&job.state())) {
        step.send(running->session, Cancel{job.key(), job.attempt(), why});
        ++ended.running;
    }
    step.change(index, Stop{why});
    step.store(index);
    ++ended.jobs;
}

}  // namespace

Stopped stop_members(Step& step, Experiment& experiment, const std::string& why, Reach reach) {
    experiment.stopped = why;
    step.log("stopped", experiment, why);
    Stopped ended;
    if (!step.options.rules.stops_hold) {
        return ended;
    }
    const auto ends = [&](const Job& job) {
        const bool spared =
            reach == Reach::not_running && std::holds_alternative<Running>(job.state());
        return !is_terminal(job.state()) && !spared &&
               !step.state.is_wanted_elsewhere(job, experiment);
    };
    Stopped uncounted;
    for (const JobIndex index : experiment.sentinels) {
        if (ends(step.state.job(index))) {
            end_job(step, index, why, uncounted);
        }
    }
    for (const JobIndex index : experiment.jobs) {
        if (ends(step.state.job(index))) {
            end_job(step, index, why, ended);
        }
    }
    return ended;
}

std::int64_t withdraw_members(Step& step, Experiment& experiment,
                              const std::set<JobIndex>& members) {
    if (members.empty()) {
        return 0;
    }
    Stopped ended;
    for (const JobIndex index : members) {
        const Job& job = step.state.job(index);
        if (!is_terminal(job.state()) && !std::holds_alternative<Running>(job.state()) &&
            !step.state.is_wanted_elsewhere(job, experiment)) {
            end_job(step, index, "the file of " + experiment.name.value + " no longer has it",
                    ended);
        }
        step.out.push_back(StoreFormer{experiment.name, job.key()});
    }
    step.state.unlink(experiment, members);
    step.log("withdrawn", experiment,
             count_of_jobs(static_cast<std::int64_t>(members.size())) +
                 " that its file no longer has, " + std::to_string(ended.jobs) +
                 " of them cancelled");
    return ended.jobs;
}

std::int64_t reopen_members(Step& step, Experiment& experiment, Reopening which) {
    std::int64_t jobs = 0;
    for (const JobIndex index : experiment.jobs) {
        const JobState& state = step.state.job(index).state();
        const bool failed = std::holds_alternative<Failed>(state);
        if (std::holds_alternative<Cancelled>(state) ||
            (failed && which == Reopening::failed_and_cancelled)) {
            step.state.edit(index, [&](Job& job) { job.open().refused_by.clear(); });
            step.change(index, Reopen{});
            step.store(index);
            ++jobs;
        }
    }
    return jobs;
}

void go_on(Step& step, Experiment& experiment) {
    experiment.stopped.clear();
    experiment.failures = 0;
    if (!experiment.paused.empty()) {
        step.state.set_paused(experiment, {});
    }
}

std::int64_t clear_quarantines(Step& step, const WorkerName& worker, const std::string& device) {
    std::vector<std::string> cards;
    for (const auto& [card, quarantine] : step.state.quarantines) {
        if (quarantine.worker == worker && (device.empty() || quarantine.device == device)) {
            cards.push_back(card);
        }
    }
    // The card may stand under another worker's name now.
    for (auto& [session, attached] : step.state.workers()) {
        for (Device& candidate : attached.devices) {
            const std::string card = card_of(attached.name, candidate.info);
            if (attached.name == worker && (device.empty() || candidate.info.id == device) &&
                step.state.quarantines.count(card) > 0) {
                cards.push_back(card);
            }
        }
    }
    std::sort(cards.begin(), cards.end());
    cards.erase(std::unique(cards.begin(), cards.end()), cards.end());
    step.state.changes += cards.empty() ? 0 : 1;
    for (const std::string& card : cards) {
        const Quarantine quarantine = step.state.quarantines.at(card);
        step.state.quarantines.erase(card);
        step.log_device("cleared", nullptr, quarantine, card);
    }
    for (auto& [session, attached] : step.state.workers()) {
        for (Device& candidate : attached.devices) {
            if (std::binary_search(cards.begin(), cards.end(),
                                   card_of(attached.name, candidate.info))) {
                candidate.quarantine.clear();
            }
        }
    }
    return static_cast<std::int64_t>(cards.size());
}

void on(Step& step, const Control& control) {
    Answered answer = obey(step, control);
    step.out.push_back(Obeyed{std::move(answer)});
}

}  // namespace bitsweep::scheduler
