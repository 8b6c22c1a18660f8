// What happens to attempts: started, ended, taken back.
#include <algorithm>

#include "coordinator/scheduler/handlers.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/retry.h"

namespace bitsweep::scheduler {

namespace {

// Where an attempt ran, as far as it is still known.
struct Place {
    WorkerName worker;
    DeviceInfo device;
};

Place place_of(const State& state, const Job& job, const SessionId& teller) {
    const auto* running = std::get_if<Running>(&job.state());
    if (running == nullptr) {
        return {};
    }
    Place place{running->worker, {running->device, job.cell().gpu()}};
    for (const SessionId& session : {running->session, teller}) {
        const Worker* worker = state.find_worker(session);
        const Device* device = worker == nullptr ? nullptr : worker->find_device(running->device);
        if (device != nullptr) {
            place.device = device->info;
            break;
        }
    }
    return place;
}

// Only the running attempt counts. Everything else is a late, repeated or invented answer.
bool counts(const Step& step, const Job& job, Attempt attempt) {
    if (!step.options.rules.terminal_is_final && is_terminal(job.state())) {
        return job.attempt() == attempt;
    }
    if (!std::holds_alternative<Running>(job.state())) {
        return false;
    }
    return job.attempt() == attempt || !step.options.rules.attempt_fence;
}

bool differ(const std::string& wanted, const std::string& found) {
    return !wanted.empty() && !found.empty() && wanted != found;
}

// Two workers with different files may both have started before the first result bound a digest.
// The second one's numbers belong to another model and must not count.
std::shared_ptr<const RunResult> check_digests(const Step& step, const Job& job,
                                               std::shared_ptr<const RunResult> result) {
    if (result->outcome.outcome != OutcomeClass::done) {
        return result;
    }
    std::string message;
    const std::string& weights = expected_weights(step.state, job.cell());
    const std::string& dataset = expected_dataset(step.state, job.cell());
    if (differ(weights, result->weights_digest)) {
        message = "model " + job.cell().model().name + " is bound to " + weights +
                  ", the worker has " + result->weights_digest;
    } else if (differ(dataset, result->dataset_digest)) {
        message = "text " + job.cell().text() + " is bound to " + dataset + ", the worker has " +
                  result->dataset_digest;
    } else {
        return result;
    }
    RunResult refused;
    refused.key = result->key;
    refused.attempt = result->attempt;
    refused.outcome = {OutcomeClass::refused, std::move(message), {}};
    refused.started_unix_ms = result->started_unix_ms;
    refused.finished_unix_ms = result->finished_unix_ms;
    refused.weights_digest = result->weights_digest;
    refused.dataset_digest = result->dataset_digest;
    return std::make_shared<const RunResult>(std::move(refused));
}

void bind_digests(State& state, const PackedCell& cell, const RunResult& result) {
    if (!result.weights_digest.empty() && cell.model().weights == WeightsSource::real) {
        state.bound_models.emplace(lower(cell.model().name), result.weights_digest);
    }
    if (!result.dataset_digest.empty()) {
        state.bound_texts.emplace(cell.text(), result.dataset_digest);
    }
}

void keep_pace(const Step& step, const Job& job) {
    const auto* running = std::get_if<Running>(&job.state());
    if (running != nullptr) {
        Pace& pace = step.state.paces[job.cell().model().name];
        ++pace.jobs;
        pace.total_ms += (step.now - running->since).ms;
    }
}

void keep_peak(State& state, const PackedCell& cell, const RunResult& result) {
    for (const Measurement& measured : result.measurements) {
        if (measured.metric == peak_metric && measured.value > 0 && measured.value < 1e15) {
            const auto bytes = static_cast<std::uint64_t>(measured.value);
            const auto peak = state.peaks.emplace(footprint(cell.spec(), false), bytes).first;
            peak->second = std::min(peak->second, bytes);
        }
    }
}

// The newest window that counts, else the newest that does not; of a sentinel simply the newest.
bool is_to_be_shown(const Step& step, const Job& job, const std::string& flag) {
    if (!step.options.rules.valid_wins) {
        return job.shown() == Shown::nothing;
    }
    return job.is_sentinel() || flag.empty() || job.shown() != Shown::valid;
}

// Of a run that stands: what the views show from now on, and whether its cell is measured again.
void settle(Step& step, JobIndex index, const std::string& flag, bool shown) {
    State& state = step.state;
    if (shown) {
        state.edit(index, [&](Job& job) {
            job.open().shown = flag.empty() ? Shown::valid : Shown::flagged;
        });
    }
    if (flag.empty() || !measure_again(step, index, flag)) {
        step.change(index, Complete{flag});
        step.store(index);
    }
}

void accept(Step& step, JobIndex index, const ResultArrived& arrived) {
    State& state = step.state;
    const Place place = place_of(state, state.job(index), arrived.session);
    auto result = check_digests(step, state.job(index), arrived.result);
    const bool done = result->outcome.outcome == OutcomeClass::done;
    const std::string card = card_of(place.worker, place.device);
    const std::string flag = done ? why_invalid(*result) : "";
    if (done) {
        result = with_notes(step, index, card, flag, result);
    }
    const bool shown = done && is_to_be_shown(step, state.job(index), flag);
    step.out.push_back(StoreRun{result, place.worker, place.device.id, place.device.kind,
                                place.device.name, shown});
    if (is_terminal(state.job(index).state())) {
        return;  // reached with terminal_is_final switched off only
    }
    if (!done) {
        end_attempt(step, index, result->outcome);
        return;
    }
    bind_digests(state, state.job(index).cell(), *result);
    keep_pace(step, state.job(index));
    keep_peak(state, state.job(index).cell(), *result);
    settle(step, index, flag, shown);
    if (std::holds_alternative<Done>(state.job(index).state())) {
        note_measured(step, index, card, *result);
    }
}

// The runner of such an attempt is gone, and the weights with it.
void lose_weights(State& state, const Running& running, OutcomeClass outcome) {
    Worker* worker = state.find_worker(running.session);
    Device* device = worker == nullptr ? nullptr : worker->find_device(running.device);
    if (device != nullptr && outcome != OutcomeClass::failure &&
        outcome != OutcomeClass::invalid_numbers) {
        device->last_model.clear();
    }
}

void set_aside(Step& step, JobIndex index, const DeviceInfo& info, const Outcome& outcome) {
    const Job& job = step.state.job(index);
    const Running& running = std::get<Running>(job.state());
    const Quarantine aside{
        running.worker, running.device,
        outcome.message.empty() ? std::string(to_string(outcome.outcome)) : outcome.message};
    const std::string card = card_of(running.worker, info);
    step.state.quarantines[card] = aside;
    Worker* worker = step.state.find_worker(running.session);
    Device* device = worker == nullptr ? nullptr : worker->find_device(running.device);
    if (device != nullptr && step.options.rules.faults_set_aside) {
        device->quarantine = aside.reason;
    }
    step.log_device("quarantine", &job, aside, card);
}

void avoid(State& state, JobIndex index, OutcomeClass outcome, const Running& running,
           const DeviceInfo& device) {
    const Avoid where = retry_rule(outcome).avoid;
    const bool cpu = device.kind == "cpu";
    // What a card's process lacked of the host's memory, another host may have.
    const bool host = where == Avoid::smaller && outcome == OutcomeClass::out_of_memory && !cpu;
    state.edit(index, [&](Job& job) {
        Job::Story& story = job.open();
        if (where == Avoid::session || host) {
            story.refused_by.push_back(running.session);
        } else if (where == Avoid::smaller) {
            story.outgrew_bytes = std::max(story.outgrew_bytes, device.memory_bytes);
        }
        // All CPUs are one kind: there only the size counts.
        if (where == Avoid::device_kind || (where == Avoid::smaller && !host && !cpu)) {
            story.kinds_tried.push_back(device.kind);
        }
    });
}

// Enough failures end the experiment: what runs may finish, it is paid for.
void count_failure(Step& step, JobIndex index) {
    const std::vector<std::uint32_t> owners = step.state.job(index).experiments();
    for (const std::uint32_t owner : owners) {
        Experiment& experiment = step.state.experiments()[owner];
        ++experiment.failures;
        if (experiment.max_fails > 0 && experiment.failures >= experiment.max_fails &&
            experiment.stopped.empty() && step.options.rules.failures_stop) {
            stop_members(step, experiment,
                         std::to_string(experiment.failures) + " jobs failed, max_fails is " +
                             std::to_string(experiment.max_fails),
                         Reach::not_running);
        }
    }
}

// An attempt that ran while its experiment was stopped, or left it, is not tried again.
void follow_the_stopped(Step& step, JobIndex index) {
    const Job& job = step.state.job(index);
    const auto& experiments = step.state.experiments();
    if (!step.state.is_wanted(job)) {
        step.change(index, Stop{job.experiments().empty()
                                    ? "no experiment asks for it any more"
                                    : experiments[job.experiments().front()].stopped});
        step.store(index);
    }
}

// The words by which status counts repetitions.
std::string why_again(const Outcome& outcome, const WorkerName& worker) {
    const bool says_it_all =
        outcome.outcome == OutcomeClass::lost_worker || outcome.outcome == OutcomeClass::cancelled;
    if (says_it_all && !outcome.message.empty()) {
        return outcome.message;
    }
    return std::string(to_string(outcome.outcome)) + " on worker " + worker.value;
}

}  // namespace

void end_attempt(Step& step, JobIndex index, const Outcome& outcome) {
    State& state = step.state;
    const Running running = std::get<Running>(state.job(index).state());
    const RetryRule& rule = retry_rule(outcome.outcome);
    const DeviceInfo device = place_of(state, state.job(index), running.session).device;

    if (rule.blame == Blame::device) {
        set_aside(step, index, device, outcome);
    }
    if (rule.avoid != Avoid::smaller || step.options.rules.memory_grows) {
        avoid(state, index, outcome.outcome, running, device);
    }
    const bool elsewhere = (rule.avoid == Avoid::device_kind || rule.avoid == Avoid::smaller) &&
                           fits_somewhere(state, state.job(index), step.now);
    const Verdict verdict = judge(state.job(index).told(), state.job(index).cell().policy(),
                                  outcome.outcome, elsewhere, step.options);
    step.change(index, End{outcome, verdict, step.now});
    lose_weights(state, running, outcome.outcome);
    step.store(index);

    const Job& job = state.job(index);
    if (is_terminal(job.state())) {
        const std::string words = std::string(to_string(outcome.outcome)) + ": " + outcome.message;
        if (job.is_sentinel()) {
            give_up_sentinel(step, index, words);
        } else if (std::holds_alternative<Done>(job.state())) {
            step.log("kept", job,
                     "measuring it again failed (" + words + "); what is there stands");
        } else {
            step.log("failed", job, words);
            count_failure(step, index);
        }
        return;
    }
    const std::string why = why_again(outcome, running.worker);
    for (const std::uint32_t experiment : job.experiments()) {
        ++state.experiments()[experiment].retries[why];
    }
    step.log("retry", job, why);
    follow_the_stopped(step, index);
}

void end_unheard(Step& step, JobIndex index, OutcomeClass outcome, std::string message) {
    const Job& job = step.state.job(index);
    const Running running = std::get<Running>(job.state());
    const Place place = place_of(step.state, job, running.session);
    const Worker* worker = step.state.find_worker(running.session);
    RunResult unheard;
    unheard.key = job.key();
    unheard.attempt = job.attempt();
    unheard.started_unix_ms = running.since.unix_ms;
    unheard.finished_unix_ms = step.now.unix_ms;
    unheard.outcome = {outcome, std::move(message), {}};
    std::string& evidence = unheard.outcome.evidence;
    evidence = "session " + running.session.value + ", " + running.device + ", " +
               (running.started ? "reported as running" : "never reported as running");
    evidence += "; lease until " + std::to_string(running.lease.unix_ms);
    evidence += worker == nullptr ? "; the session is not attached"
                                  : "; last word of the worker " +
                                        std::to_string((step.now - worker->heard).ms) + " ms ago";
    const Outcome copy = unheard.outcome;
    step.out.push_back(StoreRun{std::make_shared<const RunResult>(std::move(unheard)),
                                running.worker, running.device, place.device.kind,
                                place.device.name});
    end_attempt(step, index, copy);
}

void on(Step& step, const Started& started) {
    const auto index = step.state.find(started.key);
    const Job* job = index ? &step.state.job(*index) : nullptr;
    const auto* running = job == nullptr ? nullptr : std::get_if<Running>(&job->state());
    if (running != nullptr && job->attempt() == started.attempt &&
        running->session == started.session) {
        const TimePoint lease = lease_for(step, *job, running->since);
        step.change(*index, Renew{started.session, lease, true});
    }
}

void on(Step& step, const ResultArrived& arrived) {
    const RunResult& result = *arrived.result;
    if (Worker* worker = step.state.find_worker(arrived.session)) {
        note_heard(step, *worker);
    }
    const auto index = step.state.find(result.key);
    if (index && counts(step, step.state.job(*index), result.attempt)) {
        accept(step, *index, arrived);
    } else if (!index) {
        step.log("late", "a result of a job that is not known here: " + result.key.value);
    } else if (result.attempt != step.state.job(*index).attempt()) {
        step.log("late", step.state.job(*index),
                 "a result of attempt " + std::to_string(result.attempt.value) + " came too late");
    }
    step.send(arrived.session, ResultAck{result.key, result.attempt});
}

}  // namespace bitsweep::scheduler
