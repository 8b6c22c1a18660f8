// Measured windows: which ones count, which cells are measured again, and the sentinels between
// them. A sentinel is a job that measures one cell of an experiment, the first that a card was
// given, again and again on that card; between two of them lies a window of the card.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "coordinator/scheduler/handlers.h"
#include "coordinator/scheduler/placement.h"
#include "schemas/catalog/windows.h"
#include "schemas/codec.h"

namespace bitsweep::scheduler {

namespace {

// What a run is tied to in its provenance: the sentinel measurement that came before it.
constexpr const char* tie_name = "sentinel";

std::string tie_to(const State& state, const Watch& watch) {
    return state.job(watch.sentinel).key().value + "#" + std::to_string(watch.attempt.value);
}

// The watch that a job of this card belongs to; nullptr: none, or its experiment has ended.
Watch* watch_of(State& state, const Job& job, const std::string& card) {
    const std::uint32_t guard = job.is_sentinel() && !job.experiments().empty()
                                    ? 1 + job.experiments().front()
                                    : guard_of(state, job);
    if (guard == 0) {
        return nullptr;
    }
    const auto found = state.watches.find({card, guard - 1});
    return found == state.watches.end() ? nullptr : &found->second;
}

std::string percent(double ratio) {
    char text[32];
    std::snprintf(text, sizeof text, "%+.1f %%", 100 * (ratio - 1));
    return text;
}

std::string count_of_jobs(std::size_t jobs) {
    return std::to_string(jobs) + (jobs == 1 ? " job" : " jobs");
}

Cell sentinel_cell(const Job& reference, const ExperimentName& experiment,
                   const std::string& card) {
    Cell cell = reference.cell().unpack();
    cell.spec.quality.mode = QualityMode::off;
    // No cell has this key, so that no submission takes its result for that of a cell.
    cell.identity.spec_key =
        "sentinel of " + reference.key().value + " for " + experiment.value + " on " + card;
    return cell;
}

JobIndex add_sentinel(State& state, const Options& options, const ExperimentName& experiment,
                      JobRecord job, const Job& reference) {
    job.cell =
        std::make_shared<const Cell>(sentinel_cell(reference, experiment, job.sentinel->card));
    if (job.key.empty()) {
        job.key = cell_key(job.cell->identity);
    }
    const JobIndex index = state.add(job, *job.cell, options.needs(job.cell->spec));
    state.own(experiment, index);
    return index;
}

void forget_window(Watch& watch) {
    watch.open = false;
    watch.measured.clear();
}

// The experiment's next sentinel on this card may be handed out now. False: the card cannot run it,
// or it is not over.
bool reopen(Step& step, JobIndex sentinel, const Worker& worker, const Device& device) {
    const Job& job = step.state.job(sentinel);
    if (!is_terminal(job.state()) ||
        obstacle(step.state, job, worker, device, step.now) < Obstacle::busy) {
        return false;
    }
    step.change(sentinel, Reopen{});
    step.store(sentinel);
    return true;
}

void drop(Step& step, Watch& watch, const std::string& why) {
    if (!is_terminal(step.state.job(watch.sentinel).state())) {
        step.change(watch.sentinel, Stop{why});
        step.store(watch.sentinel);
        step.log("sentinel", step.state.job(watch.sentinel), "not measured: " + why);
    }
    forget_window(watch);
    watch.wanted = true;
}

// The sentinels at both ends of the window differ: nothing that was measured between them counts.
void flag_window(Step& step, const Watch& watch, const std::string& why) {
    State& state = step.state;
    for (const auto& [index, attempt] : watch.measured) {
        const Job& job = state.job(index);
        if (!std::holds_alternative<Done>(job.state()) || job.attempt() != attempt ||
            job.shown() != Shown::valid) {
            continue;  // measured since, or asked for again
        }
        step.out.push_back(
            StoreVerdict{job.key(), attempt, {std::string(sentinel_drift_metric), "1", 0, 1}});
        state.edit(index, [&](Job& j) {
            j.open().shown = Shown::flagged;
            j.open().last_message = why;
        });
        if (!measure_again(step, index, why)) {
            step.store(index);
        }
    }
}

// A sentinel was measured: what it says of the time since the one before.
void judge_window(Step& step, JobIndex index, const RunResult& result, Watch& watch) {
    const double rate = rate_of(result);
    const Job& job = step.state.job(index);
    const std::string card = job.sentinel()->card;
    const std::size_t between = watch.measured.size();
    std::string words = "card " + card + " gives no rate";
    if (!std::isnan(rate)) {
        char number[64];
        std::snprintf(number, sizeof number, "%.4g token/s", rate);
        words = "card " + card + ": " + number;
    }
    const bool compared = watch.open && watch.rate > 0 && !std::isnan(rate);
    const double ratio = compared ? rate / watch.rate : 1;
    const bool drifted = std::fabs(ratio - 1) > largest_sentinel_drift;
    if (compared) {
        words += ", " + percent(ratio) + " since the last one, " + count_of_jobs(between) +
                 " between" + (drifted ? ", none of which counts" : "");
    }
    step.log("sentinel", job, words);
    if (drifted && step.options.rules.drift_flags) {
        flag_window(step, watch, "the sentinels around it differ by " + percent(ratio));
    }
    watch.measured.clear();
    watch.open = !std::isnan(rate);
    watch.rate = watch.open ? rate : 0;
    watch.attempt = result.attempt;
    watch.wanted = false;
}

}  // namespace

bool measure_again(Step& step, JobIndex index, const std::string& flag) {
    State& state = step.state;
    const Job& job = state.job(index);
    const int allowed = step.options.windows(job.cell().protocol()).again;
    if ((job.told().windows_again >= allowed && step.options.rules.windows_bounded) ||
        !state.is_wanted(job)) {
        return false;
    }
    // A hot card needs time, and other jobs of the experiment go first meanwhile.
    std::int64_t wait = step.options.settle.ms;
    for (int i = 0; i < job.told().windows_again && wait < step.options.backoff_max.ms; ++i) {
        wait *= 2;
    }
    step.change(index,
                Remeasure{flag, step.now + Duration{std::min(wait, step.options.backoff_max.ms)}});
    state.edit(index, [&](Job& j) { j.set_order(state.next_order++); });
    step.store(index);
    const std::string why = "the window does not count: " + flag;
    const std::vector<std::uint32_t> owners = state.job(index).experiments();
    for (const std::uint32_t owner : owners) {
        ++state.experiments()[owner].retries[why];
    }
    step.log("retry", state.job(index), why);
    return true;
}

std::shared_ptr<const RunResult> with_notes(const Step& step, JobIndex index,
                                            const std::string& card, const std::string& flag,
                                            std::shared_ptr<const RunResult> result) {
    const Job& job = step.state.job(index);
    const Watch* watch = watch_of(step.state, job, card);
    const bool tied = watch != nullptr && watch->open;
    const bool by_its_rates = flag.rfind("drift", 0) == 0;
    if (!tied && !by_its_rates) {
        return result;
    }
    RunResult noted = *result;
    if (tied) {
        noted.provenance[tie_name] = tie_to(step.state, *watch);
    }
    if (by_its_rates) {
        noted.measurements.push_back({std::string(rate_drift_metric), "1", 0, 1});
    }
    return std::make_shared<const RunResult>(std::move(noted));
}

void note_measured(Step& step, JobIndex index, const std::string& card, const RunResult& result) {
    const Job& job = step.state.job(index);
    Watch* watch = watch_of(step.state, job, job.is_sentinel() ? job.sentinel()->card : card);
    if (watch == nullptr) {
        return;
    }
    if (job.is_sentinel()) {
        judge_window(step, index, result, *watch);
    } else if (watch->open && job.shown() == Shown::valid) {
        watch->measured.emplace_back(index, job.attempt());
    }
}

void note_handed_out(Step& step, JobIndex index, const std::string& card) {
    const Job& job = step.state.job(index);
    if (Watch* watch = watch_of(step.state, job, card)) {
        watch->jobs = job.is_sentinel() ? 0 : watch->jobs + 1;
        watch->attached = true;
    }
}

void give_up_sentinel(Step& step, JobIndex index, const std::string& why) {
    const Job& job = step.state.job(index);
    step.log("sentinel", job, "card " + job.sentinel()->card + " was not measured: " + why);
    if (Watch* watch = watch_of(step.state, job, job.sentinel()->card)) {
        forget_window(*watch);
        watch->wanted = false;  // not before as many jobs as between two sentinels
    }
}

void tend_sentinels(Step& step) {
    State& state = step.state;
    if (state.watches.empty()) {
        return;
    }
    std::map<std::string, std::pair<const Worker*, const Device*>> attached;
    for (const auto& [session, worker] : state.workers()) {
        for (const Device& device : worker.devices) {
            attached[card_of(worker.name, device.info)] = {&worker, &device};
        }
    }
    for (auto& [key, watch] : state.watches) {
        const auto found = attached.find(key.first);
        const Job& sentinel = state.job(watch.sentinel);
        const bool running = std::holds_alternative<Running>(sentinel.state());
        if (found == attached.end()) {
            if (!running && (watch.attached || !is_terminal(sentinel.state()))) {
                watch.attached = false;
                drop(step, watch, "its card is not attached");
            }
            continue;
        }
        watch.attached = true;
        const auto [worker, device] = found->second;
        if (!running && !is_terminal(sentinel.state()) &&
            obstacle(state, sentinel, *worker, *device, step.now) < Obstacle::busy) {
            drop(step, watch, obstacle_in_words(state, sentinel, *worker, *device, step.now));
        }
    }
}

void close_windows(Step& step, const Worker& worker, const Device& device) {
    State& state = step.state;
    const std::string card = state.watches.empty() ? "" : card_of(worker.name, device.info);
    for (auto found = state.watches.lower_bound({card, 0});
         found != state.watches.end() && found->first.first == card; ++found) {
        Watch& watch = found->second;
        const std::uint32_t owner = found->first.second;
        const bool more =
            std::any_of(state.ready().begin(), state.ready().end(), [&](const auto& group) {
                return group.first.guard == 1 + owner && !group.first.held &&
                       obstacle(state, state.job(group.second.front().second), worker, device,
                                step.now) >= Obstacle::memory_taken;
            });
        if (!more && !watch.measured.empty() && state.experiments()[owner].stopped.empty() &&
            step.options.rules.sentinels_stand) {
            reopen(step, watch.sentinel, worker, device);
        }
    }
}

JobIndex with_sentinel(Step& step, const Worker& worker, const Device& device, JobIndex chosen) {
    State& state = step.state;
    const std::uint32_t guard = guard_of(state, state.job(chosen));
    if (guard == 0 || !state.experiments()[guard - 1].stopped.empty() ||
        !step.options.rules.sentinels_stand) {
        return chosen;
    }
    const std::string card = card_of(worker.name, device.info);
    const auto [entry, is_new] = state.watches.try_emplace({card, guard - 1});
    Watch& watch = entry->second;
    const ExperimentName name = state.experiments()[guard - 1].name;
    if (is_new) {
        JobRecord job;
        job.sentinel =
            std::make_shared<const SentinelOf>(SentinelOf{state.job(chosen).key(), card});
        watch.attached = true;
        watch.sentinel = add_sentinel(state, step.options, name, std::move(job), state.job(chosen));
        step.out.push_back(StoreSentinel{name, state.job(watch.sentinel).with_cell()});
        return watch.sentinel;
    }
    const bool cancelled = std::holds_alternative<Cancelled>(state.job(watch.sentinel).state());
    const int every = step.options.windows(state.job(chosen).cell().protocol()).sentinel_every;
    const bool due = watch.wanted || cancelled || watch.jobs >= every;
    return due && reopen(step, watch.sentinel, worker, device) ? watch.sentinel : chosen;
}

void restore_sentinels(State& state, const Options& options,
                       std::vector<Snapshot::Sentinel> sentinels, TimePoint now) {
    for (Snapshot::Sentinel& stored : sentinels) {
        const auto reference = state.find(stored.job.sentinel->reference);
        if (!reference || state.find_experiment(stored.experiment) == nullptr) {
            continue;  // a database that was merged by hand
        }
        JobRecord job = std::move(stored.job);
        if (auto* running = std::get_if<Running>(&job.state)) {
            running->since = now;
            running->lease = now + options.lease;
        }
        const std::string card = job.sentinel->card;
        const JobIndex index =
            add_sentinel(state, options, stored.experiment, std::move(job), state.job(*reference));
        Watch watch;
        watch.sentinel = index;
        watch.open = stored.rate > 0;
        watch.rate = stored.rate;
        watch.attempt = stored.attempt;
        for (const JobKey& key : stored.measured) {
            if (const auto member = state.find(key)) {
                watch.measured.emplace_back(*member, state.job(*member).attempt());
            }
        }
        state.watches.insert_or_assign({card, state.job(index).experiments().front()},
                                       std::move(watch));
    }
}

}  // namespace bitsweep::scheduler
