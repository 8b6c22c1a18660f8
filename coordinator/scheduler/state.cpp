#include "coordinator/scheduler/state.h"

#include <algorithm>

namespace bitsweep::scheduler {

namespace {

// The moment at which a job must be looked at again, if any.
std::optional<TimePoint> deadline_of(const JobState& state) {
    if (const auto* running = std::get_if<Running>(&state)) {
        return running->lease;
    }
    if (const auto* backoff = std::get_if<Backoff>(&state)) {
        return backoff->until;
    }
    return std::nullopt;
}

template <class Devices>
auto* find_by_id(Devices& devices, const std::string& id) {
    const auto found = std::find_if(devices.begin(), devices.end(),
                                    [&](const Device& d) { return d.info.id == id; });
    return found == devices.end() ? nullptr : &*found;
}

}  // namespace

Device* Worker::find_device(const std::string& id) {
    return find_by_id(devices, id);
}

const Device* Worker::find_device(const std::string& id) const {
    return find_by_id(devices, id);
}

std::string model_identity(const ModelRef& model) {
    return model.weights == WeightsSource::real
               ? model.name
               : model.name + "#" + std::to_string(model.weights_seed);
}

GroupKey group_of(const State& state, const Job& job) {
    GroupKey key;
    key.held = state.is_held(job);
    key.rank = -job.cell().policy().priority;
    key.model = model_identity(job.cell().model());
    key.gpu = job.cell().gpu();
    key.bytes = job.needs().bytes;
    key.reference_bytes = job.needs().reference_bytes;
    key.backends = (job.needs().runs_on_cpu ? 1 : 0) | (job.needs().runs_on_cuda ? 2 : 0);
    key.timeout_ms = job.cell().policy().timeout.ms;
    const JobLife& told = job.told();
    for (const std::string& kind : told.kinds_tried) {
        key.avoided += "kind " + kind + "\n";
    }
    if (told.outgrew_bytes > 0) {
        key.avoided += "bytes " + std::to_string(told.outgrew_bytes) + "\n";
    }
    for (const SessionId& session : job.refused_by()) {
        key.avoided += "session " + session.value + "\n";
    }
    key.guard = guard_of(state, job);
    key.card = job.is_sentinel() ? job.sentinel()->card : "";
    return key;
}

std::uint32_t guard_of(const State& state, const Job& job) {
    const bool watched =
        !job.is_sentinel() && !job.experiments().empty() && state.is_watched(job.cell().protocol());
    return watched ? 1 + job.experiments().front() : 0;
}

JobIndex State::add(const JobRecord& record, const Cell& cell, Needs needs) {
    const auto index = static_cast<JobIndex>(jobs_.size());
    ++changes;
    Job& job =
        jobs_.emplace_back(PackedKey(record.key.value), cells_.pack(cell), needs, next_order++);
    static_cast<JobLife&>(job.open()) = record;
    job.open().sentinel = record.sentinel;
    job.close();
    const bool is_new = by_key_.add(index, jobs_);
    ASSERT(is_new);
    this->index(index);
    return index;
}

std::optional<JobIndex> State::find(const JobKey& key) const {
    const std::optional<PackedKey> packed = PackedKey::of(key.value);
    return packed ? by_key_.find(*packed, jobs_) : std::nullopt;
}

void State::set_policy(JobIndex index, const JobPolicy& policy) {
    Cell cell = jobs_[index].cell().unpack();
    cell.policy = policy;
    edit(index, [&](Job& job) { job.set_cell(cells_.pack(cell)); });
}

void State::set_owners(JobIndex index, Owners owners) {
    jobs_[index].set_owners(&*owners_.insert(std::move(owners)).first);
}

void State::expect(std::size_t more) {
    // A quarter at least: many small submissions must not move all jobs every time.
    if (jobs_.capacity() - jobs_.size() < more) {
        jobs_.reserve(jobs_.size() + std::max(more, jobs_.size() / 4));
    }
}

Status State::change(JobIndex index, const Trigger& trigger) {
    changes += std::holds_alternative<Renew>(trigger) ? 0 : 1;
    unindex(index);
    Job& job = jobs_[index];
    const Status applied = scheduler::apply(job.open(), trigger);
    job.close();
    this->index(index);
    return applied ? applied
                   : make_error(applied.error().code,
                                "job " + job.key().value + ": " + applied.error().message);
}

void State::attach(Worker worker) {
    ++changes;
    const SessionId session = worker.session;
    const bool is_new = workers_.emplace(session, std::move(worker)).second;
    ASSERT(is_new);
    for (const JobIndex index : running_) {
        const auto& running = std::get<Running>(jobs_[index].state());
        Device* device = running.session == session ? device_of(running) : nullptr;
        if (device != nullptr) {
            device->job = index;
            device->last_model = model_identity(jobs_[index].cell().model());
        }
    }
}

void State::detach(const SessionId& session) {
    ++changes;  // a sentinel of its card waits in vain
    workers_.erase(session);
}

Worker* State::find_worker(const SessionId& session) {
    const auto found = workers_.find(session);
    return found == workers_.end() ? nullptr : &found->second;
}

const Worker* State::find_worker(const SessionId& session) const {
    const auto found = workers_.find(session);
    return found == workers_.end() ? nullptr : &found->second;
}

Worker* State::find_worker(const WorkerName& name) {
    for (auto& [session, worker] : workers_) {
        if (worker.name == name) {
            return &worker;
        }
    }
    return nullptr;
}

Experiment& State::experiment(const ExperimentName& name) {
    const auto [entry, is_new] =
        experiment_by_name_.emplace(name, static_cast<std::uint32_t>(experiments_.size()));
    if (is_new) {
        experiments_.push_back({});
        experiments_.back().name = name;
    }
    return experiments_[entry->second];
}

const Experiment* State::find_experiment(const ExperimentName& name) const {
    const auto found = experiment_by_name_.find(name);
    return found == experiment_by_name_.end() ? nullptr : &experiments_[found->second];
}

Experiment* State::find_experiment(const ExperimentName& name) {
    const auto found = experiment_by_name_.find(name);
    return found == experiment_by_name_.end() ? nullptr : &experiments_[found->second];
}

bool State::link(const ExperimentName& name, JobIndex index) {
    Experiment& owner = experiment(name);
    const std::uint32_t position = experiment_by_name_.at(name);
    Owners memberships = jobs_[index].experiments();
    if (std::find(memberships.begin(), memberships.end(), position) != memberships.end()) {
        return false;
    }
    // The queue changes only when the new member is held or was, or is watched from now on: seldom
    // enough to look first.
    const bool moves = !owner.paused.empty() || is_held(jobs_[index]) ||
                       (memberships.empty() && is_watched(jobs_[index].cell().protocol()));
    if (moves) {
        unindex(index);
    }
    memberships.push_back(position);
    set_owners(index, std::move(memberships));
    owner.jobs.push_back(index);
    if (moves) {
        this->index(index);
    }
    return true;
}

void State::own(const ExperimentName& name, JobIndex sentinel) {
    Experiment& owner = experiment(name);
    unindex(sentinel);
    set_owners(sentinel, {experiment_by_name_.at(name)});
    owner.sentinels.push_back(sentinel);
    index(sentinel);
}

void State::unlink(Experiment& experiment, const std::set<JobIndex>& members) {
    ++changes;
    const std::uint32_t position = experiment_by_name_.at(experiment.name);
    for (const JobIndex index : members) {
        unindex(index);
        Owners others = jobs_[index].experiments();
        std::erase(others, position);
        set_owners(index, std::move(others));
        this->index(index);
    }
    std::erase_if(experiment.jobs, [&](JobIndex index) { return members.contains(index); });
}

void State::set_paused(Experiment& experiment, std::string why) {
    ++changes;
    for (const auto* all : {&experiment.jobs, &experiment.sentinels}) {
        for (const JobIndex index : *all) {
            unindex(index);
        }
    }
    experiment.paused = std::move(why);
    for (const auto* all : {&experiment.jobs, &experiment.sentinels}) {
        for (const JobIndex index : *all) {
            this->index(index);
        }
    }
}

bool State::is_held(const Job& job) const {
    return !job.experiments().empty() &&
           std::all_of(job.experiments().begin(), job.experiments().end(),
                       [&](std::uint32_t e) { return !experiments_[e].paused.empty(); });
}

bool State::is_wanted(const Job& job) const {
    return std::any_of(job.experiments().begin(), job.experiments().end(),
                       [&](std::uint32_t e) { return experiments_[e].stopped.empty(); });
}

bool State::is_wanted_elsewhere(const Job& job, const Experiment& than) const {
    return std::any_of(job.experiments().begin(), job.experiments().end(), [&](std::uint32_t e) {
        return experiments_[e].name != than.name && experiments_[e].stopped.empty();
    });
}

Device* State::device_of(const Running& running) {
    Worker* worker = find_worker(running.session);
    return worker == nullptr ? nullptr : worker->find_device(running.device);
}

void State::index(JobIndex index) {
    const Job& job = jobs_[index];
    if (std::holds_alternative<Waiting>(job.state())) {
        ready_[group_of(*this, job)].insert({job.order(), index});
    }
    if (const auto deadline = deadline_of(job.state())) {
        deadlines_.emplace(*deadline, index);
    }
    if (const auto* running = std::get_if<Running>(&job.state())) {
        running_.insert(index);
        if (Device* device = device_of(*running)) {
            device->job = index;
            device->last_model = model_identity(job.cell().model());
        }
    }
}

void State::unindex(JobIndex index) {
    const Job& job = jobs_[index];
    if (std::holds_alternative<Waiting>(job.state())) {
        const auto group = ready_.find(group_of(*this, job));
        ASSERT(group != ready_.end());
        group->second.erase({job.order(), index});
        if (group->second.empty()) {
            ready_.erase(group);
        }
    }
    if (const auto deadline = deadline_of(job.state())) {
        deadlines_.erase({*deadline, index});
    }
    if (const auto* running = std::get_if<Running>(&job.state())) {
        running_.erase(index);
        Device* device = device_of(*running);
        if (device != nullptr && device->job == index) {
            device->job.reset();
        }
    }
}

}  // namespace bitsweep::scheduler
