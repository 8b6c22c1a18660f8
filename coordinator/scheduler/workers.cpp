// What workers say about themselves, and what their silence says.
#include <algorithm>

#include "coordinator/scheduler/handlers.h"
#include "coordinator/scheduler/placement.h"

namespace bitsweep::scheduler {

namespace {

// Far above any machine (16 GPUs, a few hundred models); keeps a hostile peer's table small.
constexpr std::size_t most_devices = 64;
constexpr std::size_t most_models = 10'000;
constexpr std::size_t most_replaced = 1'024;

// Why this hello cannot be taken; empty: it can.
std::string flaw_of(const State& state, const Hello& hello) {
    if (hello.worker.empty() || hello.session.empty()) {
        return "hello without worker name or session";
    }
    if (hello.devices.empty()) {
        return "worker " + hello.worker.value + " has no device";
    }
    if (hello.devices.size() > most_devices || hello.models.size() > most_models) {
        return "worker " + hello.worker.value + " names more than " + std::to_string(most_devices) +
               " devices or " + std::to_string(most_models) + " models";
    }
    std::set<std::string> ids;
    for (const DeviceInfo& device : hello.devices) {
        if (device.id.empty() || device.kind.empty() || !ids.insert(device.id).second) {
            return "worker " + hello.worker.value +
                   " has a device without id or kind, or two of one id";
        }
    }
    const Worker* known = state.find_worker(hello.session);
    if (known != nullptr && known->name != hello.worker) {
        return "this session belongs to worker " + known->name.value;
    }
    return {};
}

Worker worker_of(const Hello& hello, TimePoint now) {
    Worker worker;
    worker.name = hello.worker;
    worker.session = hello.session;
    worker.host = hello.host;
    worker.heard = worker.answered = now;
    for (const DeviceInfo& info : hello.devices) {
        worker.devices.push_back(Device{info, std::nullopt, {}, {}, {}});
    }
    for (const std::string& model : hello.models) {
        worker.models.insert(lower(model));
    }
    if (hello.remaining.ms > 0) {
        worker.ends = now + hello.remaining;
    }
    return worker;
}

// A card that was set aside under another worker's name.
void clear_cards(Step& step, const Hello& hello) {
    for (const DeviceInfo& info : hello.devices) {
        const auto aside = step.state.quarantines.find(card_of(hello.worker, info));
        if (aside != step.state.quarantines.end()) {
            const Quarantine quarantine = aside->second;
            clear_quarantines(step, quarantine.worker, quarantine.device);
        }
    }
}

bool lists(const std::vector<RunningJob>& running, const Job& job) {
    const JobKey key = job.key();
    return std::any_of(running.begin(), running.end(), [&](const RunningJob& r) {
        return r.key == key && r.attempt == job.attempt();
    });
}

// Another process of this worker is gone (this one has its name), with all that it ran and does
// not continue here.
void release_predecessor(Step& step, const Hello& hello) {
    State& state = step.state;
    const std::set<JobIndex> running = state.running();
    for (const JobIndex index : running) {
        const Job& job = state.job(index);
        const auto& at = std::get<Running>(job.state());
        if (at.worker == hello.worker && at.session != hello.session &&
            !lists(hello.running, job)) {
            end_unheard(step, index, OutcomeClass::lost_worker,
                        "worker " + hello.worker.value + " was started again");
        }
    }
    std::vector<SessionId> old;
    for (const auto& [session, worker] : state.workers()) {
        if (worker.name == hello.worker && session != hello.session) {
            old.push_back(session);
        }
    }
    for (const SessionId& session : old) {
        if (state.replaced.size() >= most_replaced) {
            state.replaced.erase(state.replaced.begin());
        }
        state.replaced.emplace(session, hello.worker);
        state.detach(session);
    }
}

// A listed attempt is kept when it is the one that the scheduler waits for.
bool adopt(Step& step, const Worker& worker, const RunningJob& listed) {
    State& state = step.state;
    const auto index = state.find(listed.key);
    if (!index) {
        return false;
    }
    const Job& job = state.job(*index);
    const auto* running = std::get_if<Running>(&job.state());
    if (running == nullptr || job.attempt() != listed.attempt || running->worker != worker.name) {
        return false;
    }
    const Device* device = worker.find_device(running->device);
    if (device == nullptr || (device->job && device->job != index)) {
        return false;
    }
    const bool moves = running->session != worker.session;
    const TimePoint lease = lease_for(step, job, running->since);
    step.change(*index, Renew{worker.session, lease, true});
    if (moves) {
        step.store(*index);
    }
    return true;
}

// Its result is here; the acknowledgement is on its way. A cancelled job may still run: the word
// to stop may have been lost.
bool has_ended_with(const State& state, const RunningJob& listed) {
    const auto index = state.find(listed.key);
    if (!index || state.job(*index).attempt() != listed.attempt) {
        return false;
    }
    const JobState& job = state.job(*index).state();
    return std::holds_alternative<Done>(job) || std::holds_alternative<Failed>(job);
}

void reconcile(Step& step, const Worker& worker, const std::vector<RunningJob>& running) {
    for (const RunningJob& listed : running) {
        if (!adopt(step, worker, listed) && !has_ended_with(step.state, listed)) {
            step.send(worker.session,
                      Cancel{listed.key, listed.attempt, "this attempt was taken back"});
        }
    }
}

// A connection that broke takes with it what was on its way. The worker has said what it runs, so
// what it does not list it never got, or its result is about to come again: then it answers with
// that. Waiting for the lease instead would leave the device idle for ten seconds.
void repeat_lost(Step& step, const Hello& hello) {
    if (step.state.store_away) {
        return;  // the hand-out may not be stored yet
    }
    for (const JobIndex index : step.state.running()) {
        const Job& job = step.state.job(index);
        if (std::get<Running>(job.state()).session == hello.session && !lists(hello.running, job)) {
            send_dispatch(step, index);
        }
    }
}

void expire(Step& step, JobIndex index) {
    const Job& job = step.state.job(index);
    const Running running = std::get<Running>(job.state());
    const std::string name = "worker " + running.worker.value;
    const Worker* worker = step.state.find_worker(running.session);
    if (step.now >= running.since + job.cell().policy().timeout + step.options.overtime) {
        step.send(running.session,
                  Cancel{job.key(), job.attempt(), "no answer long after the limit"});
        end_unheard(step, index, OutcomeClass::timeout,
                    name + " gave no answer long after the limit");
    } else if (worker == nullptr) {
        end_unheard(step, index, OutcomeClass::lost_worker, name + " did not come back");
    } else if (worker->lost) {
        end_unheard(step, index, OutcomeClass::lost_worker, name + " lost");
    } else {
        end_unheard(step, index, OutcomeClass::lost_worker, name + " never got the job");
    }
}

// Its silence says something from then on.
void expect_a_word(Step& step, const Worker& worker) {
    const TimePoint due = worker.heard + (worker.lost ? step.options.forget : step.options.lease);
    step.state.silence_due = std::min(step.state.silence_due.value_or(due), due);
}

void look_at_silence(Step& step) {
    if (!step.state.silence_due || step.now < *step.state.silence_due) {
        return;
    }
    step.state.silence_due.reset();
    std::vector<SessionId> forgotten;
    for (auto& [session, worker] : step.state.workers()) {
        if (!worker.lost && worker.heard + step.options.lease <= step.now) {
            worker.lost = true;
            step.log("lost", "worker " + worker.name.value + " is silent");
        } else if (worker.lost && worker.heard + step.options.forget <= step.now) {
            forgotten.push_back(session);
            continue;
        }
        expect_a_word(step, worker);
    }
    for (const SessionId& session : forgotten) {
        step.state.detach(session);
    }
}

// A worker asks anew after a lease of silence.
bool wants_an_answer(const Step& step, const Worker& worker) {
    return worker.lost || (step.now - worker.answered).ms >= step.options.lease.ms / 4;
}

Welcome welcome_of(const Step& step) {
    return {step.options.heartbeat, step.options.lease, step.options.database};
}

}  // namespace

void note_heard(Step& step, Worker& worker) {
    step.state.changes += worker.lost ? 1 : 0;
    worker.heard = step.now;
    if (worker.lost) {
        worker.lost = false;
        expect_a_word(step, worker);
    }
}

void on(Step& step, const Hello& hello) {
    State& state = step.state;
    if (state.replaced.count(hello.session) > 0) {
        step.send(hello.session, Refusal{ErrorCode::already_exists,
                                         "a newer process took the name " + hello.worker.value +
                                             "; give each worker a name of its own (--name)"});
        return;
    }
    if (const std::string flaw = flaw_of(state, hello); !flaw.empty()) {
        step.send(hello.session, Refusal{ErrorCode::invalid_input, flaw});
        return;
    }
    release_predecessor(step, hello);
    if (hello.clear && state.find_worker(hello.session) == nullptr) {
        clear_quarantines(step, hello.worker, {});
        clear_cards(step, hello);
    }
    Worker worker = worker_of(hello, step.now);
    if (const Worker* known = state.find_worker(hello.session)) {
        for (Device& device : worker.devices) {
            if (const Device* before = known->find_device(device.info.id)) {
                device.last_model = before->last_model;
                device.foreign = before->foreign;
            }
        }
        worker.draining = known->draining;
        worker.loads = known->loads;
        worker.loads_saved = known->loads_saved;
        state.detach(hello.session);
    } else {
        step.log("joined", "worker " + hello.worker.value + " on " + hello.host);
    }
    for (Device& device : worker.devices) {
        const auto aside = state.quarantines.find(card_of(worker.name, device.info));
        device.quarantine = aside == state.quarantines.end() ? "" : aside->second.reason;
    }
    expect_a_word(step, worker);
    state.attach(std::move(worker));
    step.send(hello.session, welcome_of(step));
    const bool ours = hello.database.empty() || hello.database == step.options.database;
    reconcile(step, *state.find_worker(hello.session),
              ours ? hello.running : std::vector<RunningJob>{});
    repeat_lost(step, hello);
    for (Experiment& experiment : state.experiments()) {
        instantiate(step, experiment);
    }
}

void on(Step& step, const Heartbeat& heartbeat) {
    Worker* worker = step.state.find_worker(heartbeat.session);
    if (worker == nullptr) {
        const bool replaced = step.state.replaced.count(heartbeat.session) > 0;
        step.send(
            heartbeat.session,
            replaced ? Refusal{ErrorCode::already_exists, "a newer process took this worker's name"}
                     : Refusal{ErrorCode::not_found, "unknown session: say hello"});
        return;
    }
    if (worker->lost) {
        step.log("back", "worker " + worker->name.value + " speaks again");
    }
    if (wants_an_answer(step, *worker)) {
        worker->answered = step.now;
        step.send(heartbeat.session, welcome_of(step));
    }
    note_heard(step, *worker);
    reconcile(step, *worker, heartbeat.running);
    if (worker->draining) {
        step.send(worker->session, Drain{});  // the first one may have been lost
    }
    for (const DeviceState& now : heartbeat.devices) {
        if (Device* device = worker->find_device(now.id)) {
            ++step.state.changes;
            device->info.free_bytes = now.free_bytes;
            device->foreign = now.foreign;
        }
    }
}

void on(Step& step, const Goodbye& goodbye) {
    const Worker* worker = step.state.find_worker(goodbye.session);
    if (worker == nullptr) {
        return;
    }
    const std::string words = "worker " + worker->name.value + " left";
    const std::set<JobIndex> running = step.state.running();
    for (const JobIndex index : running) {
        if (std::get<Running>(step.state.job(index).state()).session == goodbye.session) {
            end_attempt(step, index, {OutcomeClass::cancelled, words, {}});
        }
    }
    step.log("left", words);
    step.state.detach(goodbye.session);
}

void on(Step& step, const DispatchUnsent& unsent) {
    const auto index = step.state.find(unsent.key);
    if (Worker* worker = step.state.find_worker(unsent.session)) {
        worker->lost = true;  // until its next word
    }
    if (!index) {
        return;
    }
    const Job& job = step.state.job(*index);
    const auto* running = std::get_if<Running>(&job.state());
    if (running != nullptr && job.attempt() == unsent.attempt &&
        running->session == unsent.session) {
        end_attempt(step, *index,
                    {OutcomeClass::cancelled,
                     "worker " + running->worker.value + " cannot be reached",
                     {}});
    }
}

void on(Step& step, const Tick&) {
    look_at_silence(step);
    std::vector<JobIndex> due;
    for (const auto& [when, index] : step.state.deadlines()) {
        if (when > step.now) {
            break;
        }
        due.push_back(index);
    }
    for (const JobIndex index : due) {
        if (std::holds_alternative<Backoff>(step.state.job(index).state())) {
            step.change(index, Wake{});
        } else if (std::holds_alternative<Running>(step.state.job(index).state()) &&
                   step.options.rules.leases_expire) {
            expire(step, index);  // else an earlier one ended its experiment
        }
    }
}

}  // namespace bitsweep::scheduler
