// Experiments: submitted, made concrete for new kinds of devices, cancelled.
#include <algorithm>
#include <iterator>

#include "coordinator/scheduler/handlers.h"
#include "coordinator/scheduler/placement.h"

namespace bitsweep::scheduler {

namespace {

struct Wishes {
    bool force = false;
    bool retry_failed = false;
};

bool must_run_again(const JobState& state, Wishes wishes) {
    return std::holds_alternative<Cancelled>(state) ||
           (std::holds_alternative<Done>(state) && wishes.force) ||
           (std::holds_alternative<Failed>(state) && (wishes.force || wishes.retry_failed));
}

JobIndex add_new(Step& step, const ResolvedCell& resolved) {
    JobRecord job;
    job.key = resolved.key;
    return step.state.add(job, *resolved.cell, step.options.needs(resolved.cell->spec));
}

// The policy of the newest request holds, but nobody's request makes a job less urgent.
void adopt_policy(State& state, JobIndex index, const JobPolicy& policy, bool again) {
    const JobPolicy& before = state.job(index).cell().policy();
    JobPolicy adopted = policy;
    adopted.priority = again ? policy.priority : std::max(before.priority, policy.priority);
    if (!same_policy(adopted, before)) {
        state.set_policy(index, adopted);
    }
    if (again) {
        state.edit(index, [&](Job& job) {
            job.set_order(state.next_order++);
            job.open().refused_by.clear();
        });
    }
}

void count_existing(const JobState& state, Submitted& counts) {
    if (std::holds_alternative<Done>(state)) {
        ++counts.done;
    } else if (std::holds_alternative<Failed>(state)) {
        ++counts.failed_before;
    } else {
        ++counts.running;  // waiting for another experiment, or on a device now
    }
}

// Returns true when the job will run because of this request.
bool merge(Step& step, const ExperimentName& experiment, JobIndex index, const Cell& cell,
           Wishes wishes, Submitted& counts) {
    State& state = step.state;
    const bool linked = state.link(experiment, index);
    const JobPolicy before = state.job(index).cell().policy();
    const bool again = must_run_again(state.job(index).state(), wishes);
    if (again) {
        adopt_policy(state, index, cell.policy, true);
        step.change(index, Reopen{});
        ++counts.new_cells;
    } else {
        count_existing(state.job(index).state(), counts);
        if (!is_terminal(state.job(index).state())) {
            adopt_policy(state, index, cell.policy, false);
        }
    }
    // The link carries the policy: a restart has to know the newest.
    if (linked || !same_policy(before, state.job(index).cell().policy())) {
        step.out.push_back(StoreNewJob{experiment, state.job(index).with_cell()});
    }
    if (again) {
        step.store(index);
    }
    return again;
}

// `named`: by job, whether a cell named it; grown as needed.
Submitted add_cells(Step& step, const ExperimentName& experiment,
                    const std::vector<ResolvedCell>& cells, Wishes wishes,
                    std::vector<bool>& named) {
    State& state = step.state;
    Submitted counts;
    counts.experiment = experiment;
    named.resize(state.jobs().size() + cells.size());
    state.expect(cells.size());
    std::map<GroupKey, bool> impossible;
    for (const ResolvedCell& resolved : cells) {
        auto index = state.find(resolved.key);
        const bool is_new = !index;
        if (is_new) {
            index = add_new(step, resolved);
            state.link(experiment, *index);
            StoreNewJob added{experiment, state.job(*index).record()};
            added.job.cell = resolved.cell;
            step.out.push_back(std::move(added));
            ++counts.new_cells;
        }
        if (named[*index]) {
            continue;  // two cells with one canonical form are one job
        }
        named[*index] = true;
        ++counts.cells;
        if (!is_new) {
            merge(step, experiment, *index, *resolved.cell, wishes, counts);
        }
        const Job& job = state.job(*index);
        if (std::holds_alternative<Waiting>(job.state())) {
            const auto [known, first] = impossible.emplace(group_of(state, job), false);
            if (first) {
                known->second = is_hopeless(nearest_obstacle(state, job, step.now));
            }
            counts.impossible += known->second ? 1 : 0;
        }
    }
    return counts;
}

// Whether its cells are on their way as CellsResolved.
bool instantiate_for(Step& step, Experiment& experiment, const DeviceInfo& device) {
    const std::string& kind = device.kind;
    if (!experiment.kinds.insert(kind).second) {
        return false;
    }
    Instantiate command{experiment.name, {}, experiment.force, experiment.retry_failed, device};
    for (const Cell& cell : experiment.templates) {
        const Needs needs = step.options.needs(cell.spec);
        if (kind == "cpu" ? needs.runs_on_cpu : needs.runs_on_cuda) {
            command.cells.push_back(cell);
            command.cells.back().spec.gpu = kind;
            command.cells.back().identity.spec_key.clear();
        }
    }
    if (command.cells.empty()) {
        return false;
    }
    step.out.push_back(std::move(command));
    return true;
}

// One that is attached, or the kind alone.
DeviceInfo device_of_kind(const State& state, const std::string& kind) {
    for (const auto& [session, worker] : state.workers()) {
        for (const Device& device : worker.devices) {
            if (device.info.kind == kind) {
                return device.info;
            }
        }
    }
    DeviceInfo device;
    device.kind = kind;
    return device;
}

// Kinds that an earlier submission of the experiment ran on. Its templates mean them too, whether
// or not such a device is attached now: otherwise a grown experiment would look finished.
std::set<std::string> kinds_of_members(const State& state, const Experiment& experiment) {
    std::set<std::string> kinds;
    for (const JobIndex index : experiment.jobs) {
        kinds.insert(state.job(index).cell().gpu());
    }
    return kinds;
}

// Takes the members out that the submission did not name. Those of kinds whose cells are still on
// their way wait for them. How many.
std::int64_t withdraw_the_unnamed(Step& step, Experiment& experiment,
                                  const std::set<std::string>& kinds_on_their_way) {
    std::set<JobIndex> gone;
    for (const JobIndex index : experiment.unnamed) {
        if (!kinds_on_their_way.contains(step.state.job(index).cell().gpu())) {
            gone.insert(index);
        }
    }
    for (const JobIndex index : gone) {
        experiment.unnamed.erase(index);
    }
    withdraw_members(step, experiment, gone);
    return static_cast<std::int64_t>(gone.size());
}

}  // namespace

void instantiate(Step& step, Experiment& experiment) {
    if (experiment.templates.empty() || !experiment.stopped.empty()) {
        return;
    }
    for (const auto& [session, worker] : step.state.workers()) {
        for (const Device& device : worker.devices) {
            instantiate_for(step, experiment, device.info);
        }
    }
}

void on(Step& step, const Submission& submission) {
    Experiment& experiment = step.state.experiment(submission.experiment);
    const std::set<std::string> kinds = kinds_of_members(step.state, experiment);
    experiment.templates = submission.templates;
    experiment.kinds.clear();
    experiment.left_out.clear();
    experiment.force = submission.force;
    experiment.retry_failed = submission.retry_failed;
    experiment.max_fails = submission.max_fails;
    // Whoever submits wants it to run, whatever was ordered before.
    if (!experiment.paused.empty() || !experiment.stopped.empty()) {
        step.log("resumed", experiment, "submitted again");
    }
    go_on(step, experiment);
    const std::vector<JobIndex> members = experiment.jobs;
    std::vector<bool> named;
    Submitted counts = add_cells(step, submission.experiment, submission.cells,
                                 {submission.force, submission.retry_failed}, named);
    Experiment& submitted = step.state.experiment(submission.experiment);
    submitted.unnamed.clear();
    std::copy_if(members.begin(), members.end(),
                 std::inserter(submitted.unnamed, submitted.unnamed.end()),
                 [&](JobIndex index) { return !named[index]; });
    std::set<std::string> on_their_way;
    if (!submitted.templates.empty()) {
        for (const std::string& kind : kinds) {
            if (instantiate_for(step, submitted, device_of_kind(step.state, kind))) {
                on_their_way.insert(kind);
            }
        }
    }
    counts.former = withdraw_the_unnamed(step, submitted, on_their_way);
    step.out.push_back(Answer{counts});
    instantiate(step, submitted);
}

void on(Step& step, const CellsResolved& resolved) {
    Experiment& experiment = step.state.experiment(resolved.experiment);
    if (!experiment.stopped.empty()) {
        for (const ResolvedCell& late : resolved.cells) {
            experiment.kinds.erase(late.cell->spec.gpu);  // met again when it goes on
        }
        return;
    }
    for (const auto& [why, count] : resolved.left_out) {
        experiment.left_out[why] += count;
    }
    std::vector<bool> named;
    Submitted counts = add_cells(step, resolved.experiment, resolved.cells,
                                 {resolved.force, resolved.retry_failed}, named);
    Experiment& owner = step.state.experiment(resolved.experiment);
    std::erase_if(owner.unnamed, [&](JobIndex index) { return named[index]; });
    std::set<std::string> others;  // kinds whose cells did not come now
    for (const JobIndex index : owner.unnamed) {
        others.insert(step.state.job(index).cell().gpu());
    }
    for (const ResolvedCell& one : resolved.cells) {
        others.erase(one.cell->spec.gpu);
    }
    counts.former = withdraw_the_unnamed(step, owner, others);
    step.out.push_back(Answer{counts});
}

}  // namespace bitsweep::scheduler
