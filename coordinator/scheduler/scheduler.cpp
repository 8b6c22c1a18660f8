#include "coordinator/scheduler/scheduler.h"

#include <algorithm>

#include "coordinator/scheduler/handlers.h"
#include "coordinator/scheduler/placement.h"

namespace bitsweep::scheduler {

namespace {

// Of a result: the run, its job, the acknowledgement; of the job that follows it, two.
constexpr std::size_t usual_commands = 6;

const std::string& bound(const std::map<std::string, std::string>& digests,
                         const std::string& name) {
    static const std::string unbound;
    const auto found = digests.find(name);
    return found == digests.end() ? unbound : found->second;
}

void hand_out(Step& step, JobIndex index, Worker& worker, const Device& device) {
    const TimePoint lease = lease_for(step, step.state.job(index), step.now);
    const std::string model = model_identity(step.state.job(index).cell().model());
    ++(device.last_model == model ? worker.loads_saved : worker.loads);
    step.change(index, HandOut{worker.name, worker.session, device.info.id, step.now, lease});
    step.store(index);
    note_handed_out(step, index, card_of(worker.name, device.info));
    send_dispatch(step, index);
}

}  // namespace

const std::string& expected_weights(const State& state, const PackedCell& cell) {
    const bool known = !cell.weights_digest().empty();
    const bool random = cell.model().weights == WeightsSource::random;
    return known || random ? cell.weights_digest()
                           : bound(state.bound_models, lower(cell.model().name));
}

const std::string& expected_dataset(const State& state, const PackedCell& cell) {
    return cell.dataset_digest().empty() ? bound(state.bound_texts, cell.text())
                                         : cell.dataset_digest();
}

void send_dispatch(Step& step, JobIndex index) {
    const Job& job = step.state.job(index);
    const auto& running = std::get<Running>(job.state());
    const PackedCell& cell = job.cell();
    Dispatch dispatch;
    dispatch.key = job.key();
    dispatch.attempt = job.attempt();
    dispatch.device = running.device;
    dispatch.timeout = cell.policy().timeout;
    dispatch.spec = cell.spec();
    dispatch.weights_digest = expected_weights(step.state, cell);
    dispatch.dataset_digest = expected_dataset(step.state, cell);
    step.send(running.session, std::move(dispatch));
}

void Step::change(JobIndex index, const Trigger& trigger) {
    const Status changed = state.change(index, trigger);
    ASSERT(changed.ok());
}

TimePoint lease_for(const Step& step, const Job& job, TimePoint since) {
    const TimePoint limit = since + job.cell().policy().timeout + step.options.overtime;
    return std::min(step.now + step.options.lease, limit);
}

void place(Step& step) {
    State& state = step.state;
    if (state.store_away) {
        return;
    }
    tend_sentinels(step);
    const bool share = !step.options.rules.one_job_per_device;
    for (auto& [session, worker] : state.workers()) {
        if (worker.lost || worker.draining) {
            continue;
        }
        for (Device& device : worker.devices) {
            if (state.ready().empty() && state.watches.empty()) {
                return;
            }
            if (!device.quarantine.empty() || !device.foreign.empty() || (device.job && !share)) {
                continue;
            }
            close_windows(step, worker, device);
            if (const auto chosen = choose(state, worker, device, step.now)) {
                hand_out(step, with_sentinel(step, worker, device, *chosen), worker, device);
            }
        }
    }
}

void on(Step& step, const StoreFailed&) {
    step.state.store_away = true;
}

// Nothing was taken from the workers' jobs while the store was away, so no lease may run out for
// what was sent meanwhile.
void on(Step& step, const StoreMended&) {
    step.state.store_away = false;
    ++step.state.changes;
    const std::set<JobIndex> running = step.state.running();
    for (const JobIndex index : running) {
        const Job& job = step.state.job(index);
        const auto& state = std::get<Running>(job.state());
        const TimePoint lease = std::max(state.lease, lease_for(step, job, step.now));
        step.change(index, Renew{state.session, lease});
    }
}

Scheduler::Scheduler(Options options) : options_(options) {
    state_.cuda_context_bytes = options_.cuda_context_bytes;
    state_.rules = options_.rules;
    state_.affinity = options_.affinity;
    state_.windows = options_.windows;
}

void Scheduler::restore(Snapshot snapshot, TimePoint now) {
    ASSERT(state_.jobs().empty());
    state_.expect(snapshot.jobs.size());
    for (JobRecord& job : snapshot.jobs) {
        if (auto* running = std::get_if<Running>(&job.state)) {
            running->since = now;
            running->lease = now + options_.lease;
        }
        if (std::holds_alternative<Done>(job.state) && !options_.rules.done_stays_done) {
            job.state = Waiting{};
        }
        state_.add(job, *job.cell, options_.needs(job.cell->spec));
    }
    for (Snapshot::Sweep& sweep : snapshot.experiments) {
        Experiment& experiment = state_.experiment(sweep.name);
        experiment.templates = std::move(sweep.templates);
        experiment.retries = std::move(sweep.retries);
        experiment.paused = std::move(sweep.paused);
        experiment.stopped = std::move(sweep.stopped);
        experiment.max_fails = sweep.max_fails;
        experiment.failures = sweep.failures;
        for (const JobKey& key : sweep.jobs) {
            if (const auto index = state_.find(key)) {
                state_.link(sweep.name, *index);
            }
        }
    }
    for (const auto& [name, digest] : snapshot.bound_models) {
        state_.bound_models[lower(name)] = digest;
    }
    restore_sentinels(state_, options_, std::move(snapshot.sentinels), now);
    state_.bound_texts = std::move(snapshot.bound_texts);
    state_.quarantines = std::move(snapshot.quarantines);
    state_.paces = std::move(snapshot.paces);
    state_.peaks = std::move(snapshot.peaks);
}

std::vector<Command> Scheduler::step(TimePoint now, const Event& event) {
    std::vector<Command> out;
    out.reserve(usual_commands);
    Step step{state_, options_, now, out};
    std::visit([&](const auto& e) { on(step, e); }, event);
    if (state_.changes != placed_at_) {
        place(step);
        placed_at_ = state_.changes;
    }
    return out;
}

std::optional<TimePoint> Scheduler::next_deadline() const {
    std::optional<TimePoint> next;
    if (!state_.deadlines().empty()) {
        next = state_.deadlines().begin()->first;
    }
    if (state_.silence_due) {
        next = std::min(next.value_or(*state_.silence_due), *state_.silence_due);
    }
    return next;
}

bool is_done(const State& state, const Experiment& experiment) {
    if (!experiment.templates.empty() && experiment.jobs.empty()) {
        return !experiment.stopped.empty();
    }
    const auto over = [&](JobIndex index) { return is_terminal(state.job(index).state()); };
    return std::all_of(experiment.jobs.begin(), experiment.jobs.end(), over) &&
           std::all_of(experiment.sentinels.begin(), experiment.sentinels.end(), over);
}

}  // namespace bitsweep::scheduler
