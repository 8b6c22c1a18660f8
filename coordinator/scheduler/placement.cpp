#include "coordinator/scheduler/placement.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "schemas/catalog/memory.h"
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

std::uint64_t largest_memory(const State& state, const Job& job) {
    std::uint64_t largest = 0;
    for_each_device(state, [&](const Worker&, const Device& d) {
        if (kind_matches(job.cell->spec.gpu, d.info)) {
            largest = std::max(largest, d.info.memory_bytes);
        }
    });
    return largest;
}

std::string first_quarantine(const State& state, const Job& job) {
    std::string text;
    for_each_device(state, [&](const Worker& worker, const Device& d) {
        if (text.empty() && !d.quarantine.empty() && kind_matches(job.cell->spec.gpu, d.info)) {
            text = d.info.id + " of worker " + worker.name.value + " is set aside: " + d.quarantine;
        }
    });
    return text;
}

std::string reason_in_words(const State& state, const Job& job, Obstacle obstacle) {
    const JobSpec& spec = job.cell->spec;
    switch (obstacle) {
        case Obstacle::no_device:
            return "no worker is attached";
        case Obstacle::wrong_kind:
            return "no attached device is of kind " + spec.gpu +
                   " (attached: " + attached_kinds(state) + ")";
        case Obstacle::method:
            return "method " + spec.method + " does not run on " + spec.gpu;
        case Obstacle::memory:
            return "needs " + gib(job.needs.bytes) + ", the largest attached device of kind " +
                   spec.gpu + " has " + gib(largest_memory(state, job));
        case Obstacle::model:
            return "no attached worker has the model " + spec.model.name +
                   " (start one with --models DIR)";
        case Obstacle::kind_tried:
            return "did not fit on " + job.kinds_tried.back() + ": " + job.last_message +
                   "; waits for another kind of device";
        case Obstacle::refused_here:
            return "refused: " + job.last_message + "; waits for another worker";
        case Obstacle::quarantined:
            return first_quarantine(state, job);
        case Obstacle::lost:
            return "every worker that could run it is silent";
        case Obstacle::draining:
            return "every worker that could run it is draining";
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
    MemoryQuestion question;
    question.shape = find_shape(spec.model.name);
    if (question.shape == nullptr) {
        return needs;
    }
    question.method = *method;
    question.head_bits = spec.head_bits;
    question.kv_bits = spec.kv == "16" ? 16 : 8;
    question.batch = spec.batch;
    question.context = spec.prompt_tokens + spec.new_tokens;
    needs.bytes = estimate_memory(question).total();
    return needs;
}

Obstacle obstacle(const Job& job, const Worker& worker, const Device& device) {
    const JobSpec& spec = job.cell->spec;
    if (!kind_matches(spec.gpu, device.info)) {
        return Obstacle::wrong_kind;
    }
    if (is_cpu(device.info) ? !job.needs.runs_on_cpu : !job.needs.runs_on_cuda) {
        return Obstacle::method;
    }
    if (device.info.memory_bytes > 0 && job.needs.bytes > device.info.memory_bytes) {
        return Obstacle::memory;
    }
    if (!has_model(worker, spec.model)) {
        return Obstacle::model;
    }
    if (std::count(job.kinds_tried.begin(), job.kinds_tried.end(), device.info.kind) > 0) {
        return Obstacle::kind_tried;
    }
    if (std::count(job.refused_by.begin(), job.refused_by.end(), worker.session) > 0) {
        return Obstacle::refused_here;
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
    return device.job ? Obstacle::busy : Obstacle::none;
}

Obstacle nearest_obstacle(const State& state, const Job& job) {
    Obstacle nearest = Obstacle::no_device;
    for_each_device(state, [&](const Worker& worker, const Device& device) {
        nearest = std::max(nearest, obstacle(job, worker, device));
    });
    return nearest;
}

std::string waiting_reason(const State& state, const Job& job, TimePoint now) {
    if (const auto* backoff = std::get_if<Backoff>(&job.state)) {
        const std::int64_t seconds = ((backoff->until - now).ms + 999) / 1000;
        return "tried again in " + std::to_string(std::max<std::int64_t>(seconds, 0)) +
               " s after attempt " + std::to_string(job.attempt.value) + ": " +
               std::string(to_string(job.last_outcome)) +
               (job.last_message.empty() ? "" : ", " + job.last_message);
    }
    return reason_in_words(state, job, nearest_obstacle(state, job));
}

std::optional<JobIndex> choose(const State& state, const Worker& worker, const Device& device) {
    std::optional<JobIndex> best;
    std::pair<bool, std::uint64_t> best_rank;  // (other model, order): the smaller goes first
    int best_priority = 0;
    for (const auto& [key, group] : state.ready()) {
        if (best && key.rank > best_priority) {
            break;
        }
        const auto [order, index] = *group.begin();
        const std::pair<bool, std::uint64_t> rank{key.model != device.last_model, order};
        if (best && rank >= best_rank) {
            continue;
        }
        // A busy device is asked only where the caller means it (see SafetyRules).
        if (obstacle(state.job(index), worker, device) >= Obstacle::busy) {
            best = index;
            best_rank = rank;
            best_priority = key.rank;
        }
    }
    return best;
}

bool fits_elsewhere(const State& state, const Job& job, const std::string& kind) {
    bool fits = false;
    for_each_device(state, [&](const Worker& worker, const Device& device) {
        fits = fits ||
               (device.info.kind != kind && obstacle(job, worker, device) >= Obstacle::quarantined);
    });
    return fits;
}

}  // namespace bitsweep::scheduler
