#include "coordinator/scheduler/invariants.h"

#include <algorithm>
#include <map>
#include <set>

namespace bitsweep::scheduler {

namespace {

using Sentences = std::vector<std::string>;

void check_queues(const State& state, Sentences& broken) {
    std::map<GroupKey, std::vector<Queue::Entry>> ready;
    std::set<std::pair<TimePoint, JobIndex>> deadlines;
    std::set<JobIndex> running;
    for (JobIndex i = 0; i < state.jobs().size(); ++i) {
        const Job& job = state.job(i);
        if (std::holds_alternative<Waiting>(job.state())) {
            ready[group_of(state, job)].emplace_back(job.order(), i);
        } else if (const auto* at = std::get_if<Running>(&job.state())) {
            running.insert(i);
            deadlines.emplace(at->lease, i);
        } else if (const auto* backoff = std::get_if<Backoff>(&job.state())) {
            deadlines.emplace(backoff->until, i);
        }
    }
    std::map<GroupKey, std::vector<Queue::Entry>> queued;
    for (const auto& [key, queue] : state.ready()) {
        queued[key] = queue.entries();
        std::sort(ready[key].begin(), ready[key].end());
    }
    if (ready != queued) {
        broken.push_back("the queue of waiting jobs differs from the jobs that wait");
    }
    if (deadlines != state.deadlines()) {
        broken.push_back("the deadlines differ from the leases and delays of the jobs");
    }
    if (running != state.running()) {
        broken.push_back("the running set differs from the jobs that run");
    }
}

void check_devices(const State& state, Sentences& broken) {
    std::map<std::pair<SessionId, std::string>, JobIndex> occupied;
    for (const JobIndex i : state.running()) {
        const auto* at = std::get_if<Running>(&state.job(i).state());
        if (at != nullptr && !occupied.emplace(std::pair(at->session, at->device), i).second) {
            broken.push_back("two live attempts on " + at->device + " of worker " +
                             at->worker.value);
        }
    }
    for (const auto& [session, worker] : state.workers()) {
        if (session != worker.session) {
            broken.push_back("worker " + worker.name.value + " stands under another session");
        }
        for (const Device& device : worker.devices) {
            const auto found = occupied.find({session, device.info.id});
            const auto expected =
                found == occupied.end() ? std::nullopt : std::optional(found->second);
            if (device.job != expected) {
                broken.push_back(device.info.id + " of worker " + worker.name.value +
                                 " is not with the job that runs there");
            }
        }
    }
}

void check_jobs(const State& state, Sentences& broken) {
    std::set<std::uint64_t> orders;
    for (JobIndex i = 0; i < state.jobs().size(); ++i) {
        const Job& job = state.job(i);
        const std::string name = "job " + job.key().value + ": ";
        if (state.find(job.key()) != i) {
            broken.push_back(name + "not found under its key");
        }
        if (!orders.insert(job.order()).second || job.order() >= state.next_order) {
            broken.push_back(name + "its place in the run order is not its own");
        }
        const bool had_attempt = job.attempt().value > 0;
        if ((std::holds_alternative<Running>(job.state()) ||
             std::holds_alternative<Backoff>(job.state()) ||
             std::holds_alternative<Done>(job.state())) &&
            !had_attempt) {
            broken.push_back(name + std::string(state_word(job.state())) + " without an attempt");
        }
        for (const std::uint32_t experiment : job.experiments()) {
            const bool known = experiment < state.experiments().size();
            const bool sentinel = job.is_sentinel();
            const std::vector<JobIndex>& listed = !known ? std::vector<JobIndex>{}
                                                  : !sentinel
                                                      ? state.experiments()[experiment].jobs
                                                      : state.experiments()[experiment].sentinels;
            if (std::count(listed.begin(), listed.end(), i) != 1) {
                broken.push_back(name + "its experiment does not list it once");
            }
        }
    }
}

void check_watches(const State& state, Sentences& broken) {
    for (const auto& [key, watch] : state.watches) {
        const Job& sentinel = state.job(watch.sentinel);
        if (!sentinel.is_sentinel() || sentinel.sentinel()->card != key.first ||
            sentinel.experiments().size() != 1 || sentinel.experiments().front() != key.second) {
            broken.push_back("the watch of card " + key.first + " has another one's sentinel");
        }
        for (const auto& [index, attempt] : watch.measured) {
            if (guard_of(state, state.job(index)) == 0 || attempt > state.job(index).attempt()) {
                broken.push_back("the watch of card " + key.first + " holds what it cannot have");
            }
        }
    }
}

void check_experiments(const State& state, Sentences& broken) {
    for (std::uint32_t e = 0; e < state.experiments().size(); ++e) {
        for (const JobIndex i : state.experiments()[e].jobs) {
            const auto& owners = state.job(i).experiments();
            if (std::count(owners.begin(), owners.end(), e) != 1) {
                broken.push_back("experiment " + state.experiments()[e].name.value +
                                 " lists a job that does not know it");
            }
        }
    }
}

}  // namespace

std::vector<std::string> broken_invariants(const State& state) {
    Sentences broken;
    check_queues(state, broken);
    check_devices(state, broken);
    check_jobs(state, broken);
    check_experiments(state, broken);
    check_watches(state, broken);
    return broken;
}

}  // namespace bitsweep::scheduler
