#include "coordinator/scheduler/placement.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdio>

#include "schemas/catalog/job_memory.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep::scheduler {

namespace {

// " nvidia a100 sxm4 40gb ": words between single blanks, so that " a100 " finds whole words.
std::string words_of(const std::string& text) {
    std::string words = " ";
    for (const char c : text) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.') {
            words += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        } else if (words.back() != ' ') {
            words += ' ';
        }
    }
    if (words.back() != ' ') {
        words += ' ';
    }
    return words;
}

bool is_cpu(const DeviceInfo& device) {
    return device.kind == "cpu";
}

bool has_model(const Worker& worker, const ModelRef& model) {
    if (worker.models.count(lower(model.name)) > 0) {
        return true;
    }
    // Random weights need a shape only, and the table of shapes is everywhere.
    return model.weights == WeightsSource::random && find_shape(model.name) != nullptr;
}

// Up by less than 0.4 %; the estimate is good to one. Jobs of equal needs share a group, and every
// choice looks at every group: a matrix of lengths and batches would have one for each job.
std::uint64_t coarse(std::uint64_t bytes) {
    const std::uint64_t step = std::max<std::uint64_t>(1, std::bit_floor(bytes) / 256);
    return (bytes + step - 1) / step * step;
}

std::string gib(std::uint64_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1ull << 30));
    return text;
}

template <class Visit>
void for_each_device(const State& state, Visit&& visit) {
    for (const auto& [session, worker] : state.workers()) {
        for (const Device& device : worker.devices) {
            visit(worker, device);
        }
    }
}

std::string attached_kinds(const State& state) {
    std::set<std::string> kinds;
    for_each_device(state, [&](const Worker&, const Device& d) { kinds.insert(d.info.kind); });
    std::string text;
    for (const std::string& kind : kinds) {
        text += (text.empty() ? "" : ", ") + kind;
    }
    return text;
}

template <class Visit>
void for_each_of_kind(const State& state, const Job& job, Visit&& visit) {
    for_each_device(state, [&](const Worker& worker, const Device& device) {
        if (kind_matches(job.cell().gpu(), device.info)) {
            visit(worker, device);
        }
    });
}

std::uint64_t largest_memory(const State& state, const Job& job) {
    std::uint64_t largest = 0;
    for_each_of_kind(state, job, [&](const Worker&, const Device& device) {
        largest = std::max(largest, device.info.memory_bytes);
    });
    return largest;
}

std::uint64_t least_need(const State& state, const Job& job) {
    std::uint64_t least = 0;
    for_each_of_kind(state, job, [&](const Worker&, const Device& device) {
        const std::uint64_t need = bytes_needed(state, job, device.info);
        least = least == 0 ? need : std::min(least, need);
    });
    return least;
}

// A sentinel of the card that is not over goes before the jobs that it watches.
bool awaits_sentinel(const State& state, const Job& job, const Worker& worker,
                     const Device& device) {
    const std::uint32_t guard = guard_of(state, job);
    if (guard == 0) {
        return false;
    }
    const auto watch = state.watches.find({card_of(worker.name, device.info), guard - 1});
    return watch != state.watches.end() && !is_terminal(state.job(watch->second.sentinel).state());
}

std::string tried_kinds(const Job& job) {
    return job.told().kinds_tried.empty() ? "" : " on " + job.told().kinds_tried.back();
}

// The words of the first device that has this obstacle.
std::string nearest_in_words(const State& state, const Job& job, Obstacle wanted, TimePoint now) {
    std::string words;
    for_each_of_kind(state, job, [&](const Worker& worker, const Device& device) {
        if (words.empty() && obstacle(state, job, worker, device, now) == wanted) {
            words = obstacle_in_words(state, job, worker, device, now);
        }
    });
    return words;
}

// Seconds up to two minutes, then minutes, then hours.
std::string span(Duration time) {
    const std::int64_t seconds = std::max<std::int64_t>(0, (time.ms + 999) / 1000);
    if (seconds < 120) {
        return std::to_string(seconds) + " s";
    }
    const std::int64_t minutes = seconds / 60;
    return minutes < 120 ? std::to_string(minutes) + " min" : std::to_string(minutes / 60) + " h";
}

std::string reason_in_words(const State& state, const Job& job, Obstacle obstacle, TimePoint now) {
    const PackedCell& cell = job.cell();
    switch (obstacle) {
        case Obstacle::no_device:
            return "no worker is attached";
        case Obstacle::wrong_kind:
            return "no attached device is of kind " + cell.gpu() +
                   " (attached: " + attached_kinds(state) + ")";
        case Obstacle::method:
            return "method " + cell.method() + " does not run on " + cell.gpu();
        case Obstacle::memory:
            return "needs " + gib(least_need(state, job)) +
                   ", the largest attached device of kind " + cell.gpu() + " has " +
                   gib(largest_memory(state, job));
        case Obstacle::model:
            return "no attached worker has the model " + cell.model().name +
                   " (start one with --models DIR)";
        case Obstacle::outgrown:
            return "ran out of memory" + tried_kinds(job) + " (" + job.told().last_message +
                   "); waits for a larger device";
        case Obstacle::refused_here:
            return "refused: " + job.told().last_message + "; waits for another worker";
        case Obstacle::ends_soon:
            return "every worker that could run it ends too soon for " +
                   span(time_needed(state, job)) + " of work";
        case Obstacle::lost:
            return "every worker that could run it is silent";
        case Obstacle::draining:
            return "every worker that could run it is draining";
        case Obstacle::quarantined:
        case Obstacle::foreign:
        case Obstacle::memory_taken:
        case Obstacle::sentinel:
            return nearest_in_words(state, job, obstacle, now);
        case Obstacle::busy:
        case Obstacle::none:
            break;
    }
    return "waits for a free device";
}

}  // namespace

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return static_cast<char>(c < 128 ? std::tolower(c) : c);
    });
    return text;
}

bool kind_matches(const std::string& wanted, const DeviceInfo& device) {
    if (wanted == device.kind) {
        return true;
    }
    if (is_cpu(device) || wanted.empty()) {
        return lower(wanted) == device.kind;
    }
    const std::string words = words_of(wanted);
    return words != " " && (words_of(device.kind).find(words) != std::string::npos ||
                            words_of(device.name).find(words) != std::string::npos);
}

Needs needs_of(const JobSpec& spec) {
    Needs needs;
    const Result<MethodId> method = parse_method(spec.method);
    if (!method) {
        return {0, false, false};  // stored by a release that knew it
    }
    const MethodRow& row = method_row(*method);
    needs.runs_on_cpu = row.on_cpu;
    needs.runs_on_cuda = row.on_cuda;
    std::optional<JobMemory> memory = job_memory(spec);
    if (!memory) {
        return needs;
    }
    // A typed prompt has at most a token for each byte; a scored window is in the cache as well.
    const bool scored = spec.quality.mode != QualityMode::off && spec.repeat == 0;
    const std::int64_t prompt =
        spec.prompt_tokens > 0 ? spec.prompt_tokens : static_cast<std::int64_t>(spec.prompt.size());
    memory->question.context = std::max(
        prompt + spec.new_tokens, scored && spec.quality.tokens > 0 ? spec.quality.window : 0);
    needs.bytes = coarse(memory->bytes().total());
    if (scored) {
        memory->question.prefill_rows = cpu_prefill_rows;
        memory->question.method = *parse_method("fp32");
        memory->question.batch = 1;
        needs.reference_bytes = coarse(estimate_memory(memory->question).total());
    }
    return needs;
}

std::string card_of(const WorkerName& worker, const DeviceInfo& device) {
    const auto uuid = device.facts.find("uuid");
    return uuid != device.facts.end() && !uuid->second.empty() ? uuid->second
                                                               : worker.value + "/" + device.id;
}

std::string footprint(const JobSpec& spec, bool cpu) {
    std::string text = model_identity(spec.model) + "|" + spec.method;
    for (const std::int64_t part :
         {std::int64_t{spec.head_bits}, std::int64_t{spec.batch}, spec.prompt_tokens,
          spec.new_tokens, spec.quality.mode == QualityMode::off ? 0 : spec.quality.window}) {
        text += "|" + std::to_string(part);
    }
    return text + "|" + spec.kv + (spec.prompt_tokens > 0 ? "" : "|" + spec.prompt) +
           (cpu ? "|cpu" : "|cuda");
}

std::uint64_t bytes_needed(const State& state, const Job& job, const DeviceInfo& device) {
    // On the CPU the estimate stands: what a process holds there depends on what it ran before.
    if (is_cpu(device)) {
        return job.needs().bytes == 0 ? 0 : job.needs().bytes + job.needs().reference_bytes;
    }
    if (!state.peaks.empty()) {
        const auto measured = state.peaks.find(footprint(job.cell().spec(), false));
        if (measured != state.peaks.end()) {
            return measured->second;
        }
    }
    return job.needs().bytes == 0 ? 0 : job.needs().bytes + state.cuda_context_bytes;
}

Duration time_needed(const State& state, const Job& job) {
    const auto pace = state.paces.find(job.cell().model().name);
    const Duration limit = job.cell().policy().timeout;
    if (pace == state.paces.end() || pace->second.jobs == 0) {
        return limit;
    }
    return std::min(limit, Duration{pace->second.total_ms * 3 / 2 / pace->second.jobs});
}

Obstacle obstacle(const State& state, const Job& job, const Worker& worker, const Device& device,
                  TimePoint now) {
    const PackedCell& cell = job.cell();
    const DeviceInfo& info = device.info;
    if (!kind_matches(cell.gpu(), info) ||
        (job.is_sentinel() && job.sentinel()->card != card_of(worker.name, info))) {
        return Obstacle::wrong_kind;
    }
    if (is_cpu(info) ? !job.needs().runs_on_cpu : !job.needs().runs_on_cuda) {
        return Obstacle::method;
    }
    const std::uint64_t need = bytes_needed(state, job, info);
    if (info.memory_bytes > 0 && need > info.memory_bytes) {
        return Obstacle::memory;
    }
    if (!has_model(worker, cell.model())) {
        return Obstacle::model;
    }
    const bool same_kind =
        std::count(job.told().kinds_tried.begin(), job.told().kinds_tried.end(), info.kind) > 0;
    if (same_kind ||
        (job.told().outgrew_bytes > 0 && info.memory_bytes <= job.told().outgrew_bytes)) {
        return Obstacle::outgrown;
    }
    if (std::count(job.refused_by().begin(), job.refused_by().end(), worker.session) > 0) {
        return Obstacle::refused_here;
    }
    if (worker.ends && now + time_needed(state, job) > *worker.ends) {
        return Obstacle::ends_soon;
    }
    if (!device.quarantine.empty()) {
        return Obstacle::quarantined;
    }
    if (worker.lost) {
        return Obstacle::lost;
    }
    if (worker.draining) {
        return Obstacle::draining;
    }
    if (!device.foreign.empty()) {
        return Obstacle::foreign;
    }
    if (awaits_sentinel(state, job, worker, device)) {
        return Obstacle::sentinel;
    }
    if (device.job) {
        return Obstacle::busy;
    }
    // Host memory comes and goes by itself; that of a card only when somebody gives it back.
    if (!is_cpu(info) && info.free_bytes > 0 && need > info.free_bytes) {
        return Obstacle::memory_taken;
    }
    return Obstacle::none;
}

Obstacle nearest_obstacle(const State& state, const Job& job, TimePoint now) {
    Obstacle nearest = Obstacle::no_device;
    for_each_device(state, [&](const Worker& worker, const Device& device) {
        nearest = std::max(nearest, obstacle(state, job, worker, device, now));
    });
    return nearest;
}

std::string waiting_reason(const State& state, const Job& job, TimePoint now) {
    if (state.is_held(job)) {
        const Experiment& experiment = state.experiments()[job.experiments().front()];
        return "experiment " + experiment.name.value + " is paused: " + experiment.paused;
    }
    const auto* backoff = std::get_if<Backoff>(&job.state());
    if (backoff != nullptr && job.told().last_outcome == OutcomeClass::done) {
        return "measured again in " + span(backoff->until - now) + ": the window of attempt " +
               std::to_string(job.attempt().value) + " does not count (" + job.told().last_message +
               ")";
    }
    if (backoff != nullptr) {
        return "tried again in " + span(backoff->until - now) + " after attempt " +
               std::to_string(job.attempt().value) + ": " +
               std::string(to_string(job.told().last_outcome)) +
               (job.told().last_message.empty() ? "" : ", " + job.told().last_message);
    }
    return reason_in_words(state, job, nearest_obstacle(state, job, now), now);
}

std::string obstacle_in_words(const State& state, const Job& job, const Worker& worker,
                              const Device& device, TimePoint now) {
    const PackedCell& cell = job.cell();
    const DeviceInfo& info = device.info;
    const std::string place = info.id + " of worker " + worker.name.value;
    const std::string need = gib(bytes_needed(state, job, info));
    switch (obstacle(state, job, worker, device, now)) {
        case Obstacle::no_device:
        case Obstacle::wrong_kind:
            return place + " is of kind " + info.kind + ", the job asks for " + cell.gpu();
        case Obstacle::method:
            return "method " + cell.method() + " does not run on " + place;
        case Obstacle::memory:
            return place + " has " + gib(info.memory_bytes) + " of memory, the job needs " + need;
        case Obstacle::model:
            return "worker " + worker.name.value + " has not the model " + cell.model().name +
                   " (start it with --models DIR)";
        case Obstacle::outgrown:
            return place + " (" + info.kind + ", " + gib(info.memory_bytes) +
                   ") is no larger than where the job ran out of memory";
        case Obstacle::refused_here:
            return "worker " + worker.name.value + " refused it: " + job.told().last_message;
        case Obstacle::ends_soon:
            return "worker " + worker.name.value + " ends in " + span(*worker.ends - now) +
                   ", the job is given " + span(time_needed(state, job));
        case Obstacle::quarantined:
            return place + " is set aside: " + device.quarantine +
                   " (when it is sound again: " + "bitsweep clear " + worker.name.value + ")";
        case Obstacle::lost:
            return "worker " + worker.name.value + " is silent for " + span(now - worker.heard);
        case Obstacle::draining:
            return "worker " + worker.name.value + " is draining";
        case Obstacle::foreign:
            return place + " is in use by " + device.foreign + ", which bitsweep did not start";
        case Obstacle::memory_taken:
            return place + " has " + gib(info.free_bytes) + " free of " + gib(info.memory_bytes) +
                   ", the job needs " + need;
        case Obstacle::sentinel:
            return place + " is measured by its sentinel first";
        case Obstacle::busy:
            return place + " is busy with job " + state.job(*device.job).key().value.substr(0, 12);
        case Obstacle::none:
            break;
    }
    return place + " is free";
}

std::optional<JobIndex> choose(const State& state, const Worker& worker, const Device& device,
                               TimePoint now) {
    std::optional<JobIndex> best;
    std::pair<bool, std::uint64_t> best_rank;  // (other model, order): the smaller goes first
    int best_priority = 0;
    for (const auto& [key, group] : state.ready()) {
        if ((key.held && state.rules.pauses_hold) || (best && key.rank > best_priority)) {
            break;
        }
        const auto [order, index] = group.front();
        const bool loads = key.model != device.last_model;
        const std::pair<bool, std::uint64_t> rank{loads && state.affinity == Affinity::weights,
                                                  order};
        if (best && rank >= best_rank) {
            continue;
        }
        // A busy device is asked only where the caller means it (see SafetyRules).
        if (obstacle(state, state.job(index), worker, device, now) >= Obstacle::busy) {
            best = index;
            best_rank = rank;
            best_priority = key.rank;
        }
    }
    return best;
}

bool fits_somewhere(const State& state, const Job& job, TimePoint now) {
    return !is_impossible(nearest_obstacle(state, job, now));
}

}  // namespace bitsweep::scheduler
