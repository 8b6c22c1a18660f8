#include "coordinator/scheduler/explain.h"

#include <algorithm>

#include "coordinator/scheduler/placement.h"

namespace bitsweep::scheduler {

namespace {

constexpr std::size_t most_devices_told = 40;  // lines that a person still reads

Result<JobIndex> find_by_prefix(const State& state, const std::string& prefix) {
    if (const auto exact = state.find(JobKey{prefix})) {
        return *exact;
    }
    std::optional<JobIndex> found;
    for (JobIndex index = 0; index < state.jobs().size(); ++index) {
        const std::string key = state.job(index).key().value;
        if (prefix.empty() || key.compare(0, prefix.size(), prefix) != 0) {
            continue;
        }
        if (found) {
            return make_error(ErrorCode::invalid_input,
                              "more than one job begins with " + prefix + ", such as " +
                                  state.job(*found).key().value.substr(0, 16) + " and " +
                                  key.substr(0, 16) + "; write more characters");
        }
        found = index;
    }
    if (!found) {
        return make_error(ErrorCode::not_found, "no job " + prefix +
                                                    "; `bitsweep query --view v_cells` and "
                                                    "v_failures show their keys");
    }
    return *found;
}

std::string what_it_is(const State& state, const Job& job) {
    const Cell cell = job.cell().unpack();
    const JobSpec& spec = cell.spec;
    std::string words = spec.model.name + " " + spec.method + " on " + spec.gpu;
    if (spec.threshold) {
        words += ", threshold " + std::to_string(*spec.threshold);
    }
    if (job.is_sentinel()) {
        words += ", a sentinel: it measures cell " + job.sentinel()->reference.value.substr(0, 12) +
                 " again on card " + job.sentinel()->card;
    }
    words += ", batch " + std::to_string(spec.batch) + ", repeat " + std::to_string(spec.repeat);
    words += ", priority " + std::to_string(job.cell().policy().priority);
    for (const std::uint32_t owner : job.experiments()) {
        words += "; experiment " + state.experiments()[owner].name.value;
    }
    return cell.yaml_line == 0 ? words : words + "; line " + std::to_string(cell.yaml_line);
}

// How often the cell's window did not count, and what is shown of it.
std::string windows_in_words(const State& state, const Job& job) {
    const int allowed = state.windows(job.cell().protocol()).again;
    std::string words = "measured again because a window did not count: " +
                        std::to_string(job.told().windows_again) + " of " +
                        std::to_string(allowed) + " times that protocol " +
                        std::string(to_string(job.cell().protocol())) + " allows";
    if (job.shown() == Shown::flagged) {
        words += "; what is shown is flagged and stands in no headline";
    }
    return words;
}

std::string budgets(const Job& job) {
    const JobPolicy& policy = job.cell().policy();
    return "attempts so far: " + std::to_string(job.attempt().value) + "; crashes " +
           std::to_string(job.told().crashes) + " of " + std::to_string(policy.retries_crash) +
           " forgiven, failures " + std::to_string(job.told().failures) + " of " +
           std::to_string(policy.retries_fail);
}

// Jobs that would be handed out before this one on the same devices, at most.
std::size_t jobs_ahead(const State& state, const Job& job) {
    std::size_t ahead = 0;
    for (const auto& [key, group] : state.ready()) {
        const int rank = -job.cell().policy().priority;
        if (key.held || key.rank > rank) {
            break;
        }
        if (key.gpu == job.cell().gpu()) {
            ahead += key.rank < rank ? group.size() : group.count_before({job.order(), 0});
        }
    }
    return ahead;
}

void explain_waiting(const State& state, const Job& job, TimePoint now,
                     std::vector<std::string>& lines) {
    lines.push_back(waiting_reason(state, job, now));
    const Obstacle nearest = nearest_obstacle(state, job, now);
    if (nearest >= Obstacle::busy && !state.is_held(job)) {
        const std::size_t ahead = jobs_ahead(state, job);
        lines.push_back(ahead == 0 ? "nothing is before it: the next device of its kind that is "
                                     "free takes it"
                                   : "up to " + std::to_string(ahead) + " jobs are before it");
    }
    // The nearest devices first: what stands between them and the job is what would let it run.
    std::vector<std::pair<Obstacle, std::string>> devices;
    for (const auto& [session, worker] : state.workers()) {
        for (const Device& device : worker.devices) {
            devices.emplace_back(obstacle(state, job, worker, device, now),
                                 obstacle_in_words(state, job, worker, device, now));
        }
    }
    std::stable_sort(devices.begin(), devices.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [what, words] : devices) {
        if (lines.size() == most_devices_told) {
            lines.push_back("and further devices");
            break;
        }
        if (words != lines.front()) {
            lines.push_back("device " + words);
        }
    }
}

}  // namespace

Result<Explanation> explain(const State& state, const std::string& wanted, TimePoint now,
                            const std::string& store_trouble) {
    const Job& job = state.job(TRY(find_by_prefix(state, wanted)));
    Explanation told;
    told.key = job.key();
    told.state = std::string(state_word(job.state()));
    std::vector<std::string>& lines = told.lines;
    if (!store_trouble.empty() && !is_terminal(job.state())) {
        lines.push_back("nothing is handed out while the database cannot be written: " +
                        store_trouble);
    }
    if (const auto* running = std::get_if<Running>(&job.state())) {
        lines.push_back("attempt " + std::to_string(job.attempt().value) + " runs on " +
                        running->device + " of worker " + running->worker.value + " for " +
                        std::to_string((now - running->since).ms / 1000) + " s, of " +
                        std::to_string(job.cell().policy().timeout.ms / 1000) +
                        " s that it is given" +
                        (running->started ? "" : "; the worker has not said yet that it started"));
    } else if (const auto* failed = std::get_if<Failed>(&job.state())) {
        lines.push_back(std::string(to_string(failed->outcome)) + ": " + failed->message);
        lines.push_back(
            "to run it again: `bitsweep retry EXPERIMENT` or `bitsweep submit FILE "
            "--retry-failed`");
    } else if (const auto* cancelled = std::get_if<Cancelled>(&job.state())) {
        lines.push_back("cancelled: " + cancelled->reason);
        lines.push_back("to run it again: `bitsweep retry EXPERIMENT`, or submit it again");
    } else if (std::holds_alternative<Done>(job.state())) {
        lines.push_back("done with attempt " + std::to_string(job.attempt().value) +
                        (job.shown() == Shown::flagged && !job.told().last_message.empty()
                             ? "; its window does not count: " + job.told().last_message
                             : ""));
    } else {
        explain_waiting(state, job, now, lines);
    }
    if (job.attempt().value > 0) {
        lines.push_back(budgets(job));
        if (job.told().windows_again > 0 || job.shown() == Shown::flagged) {
            lines.push_back(windows_in_words(state, job));
        }
        if (!job.told().last_message.empty() && !is_terminal(job.state())) {
            lines.push_back("last attempt: " + std::string(to_string(job.told().last_outcome)) +
                            ", " + job.told().last_message);
        }
    }
    lines.push_back(what_it_is(state, job));
    return told;
}

}  // namespace bitsweep::scheduler
