#include "worker/agent/runners.h"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "schemas/codec.h"
#include "worker/agent/kernel_oom.h"
#include "worker/agent/outbox.h"

namespace bitsweep::agent {

namespace {

constexpr std::size_t longest_progress_line = 4'096;
constexpr Duration weigh_every{250};

bool is_progress(const std::string& line) {
    if (line.size() > longest_progress_line) {
        return false;
    }
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    return json.is_object() && json.contains("progress");
}

RunResult result_of(const Dispatch& dispatch, Outcome outcome) {
    RunResult result;
    result.key = dispatch.key;
    result.attempt = dispatch.attempt;
    result.outcome = std::move(outcome);
    return result;
}

}  // namespace

bool may_share_process(const JobSpec& before, const JobSpec& next) {
    const ModelRef& a = before.model;
    const ModelRef& b = next.model;
    return before.protocol == Protocol::quick && next.protocol == Protocol::quick &&
           a.name == b.name && a.weights == b.weights && a.weights_seed == b.weights_seed &&
           a.path == b.path && before.threads == next.threads;
}

Runners::Runners(RunnerSettings settings) : settings_(std::move(settings)) {}

void Runners::start(TimePoint now, const Dispatch& dispatch) {
    Slot& slot = slots_[dispatch.device];
    slot.next = dispatch;
    pump(now, slot);
}

void Runners::kill(TimePoint now, const JobKey& key, Attempt attempt, const std::string& reason) {
    for (auto& [device, slot] : slots_) {
        if (slot.job && slot.job->dispatch.key == key && slot.job->dispatch.attempt == attempt) {
            slot.job->watch.cancel(now, reason);
            urge(now, slot);
        }
        if (slot.next && slot.next->key == key && slot.next->attempt == attempt) {
            const Dispatch dispatch = *slot.next;
            slot.next.reset();
            ended_.push_back(result_of(dispatch, {OutcomeClass::cancelled, reason, ""}));
        }
    }
}

std::vector<RunResult> Runners::advance(TimePoint now) {
    for (auto& [device, slot] : slots_) {
        if (slot.child) {
            read_lines(now, slot);
            weigh(now, slot);
            urge(now, slot);
            reap(now, slot);
        }
        if (slot.child && !slot.job && !slot.next && !slot.closing &&
            now >= slot.idle_since + settings_.idle) {
            close(now, slot);
        }
        pump(now, slot);
    }
    return std::exchange(ended_, {});
}

void Runners::add_descriptors(std::vector<pollfd>& into) const {
    for (const auto& [device, slot] : slots_) {
        if (!slot.child) {
            continue;
        }
        const Child::Descriptors at = slot.child->descriptors();
        for (const int descriptor : at.read) {
            if (descriptor >= 0) {
                into.push_back({descriptor, POLLIN, 0});
            }
        }
        if (at.write >= 0) {
            into.push_back({at.write, POLLOUT, 0});
        }
    }
}

TimePoint Runners::next_wake(TimePoint now) const {
    TimePoint wake = now + Duration{60'000};
    for (const auto& [device, slot] : slots_) {
        if (!slot.child) {
            continue;
        }
        if (slot.job) {
            wake = std::min(wake, slot.job->watch.next_wake());
        }
        // A process that is ending closes its pipes a moment before it can be reaped.
        const bool ending = slot.closing || slot.child->descriptors().read[0] < 0 ||
                            (slot.job && slot.job->watch.cause() != StopCause::none);
        wake = std::min(wake, now + Duration{ending ? 10 : 1'000});
        if (slot.job && settings_.memory > 0) {
            wake = std::min(wake, slot.job->weighed + weigh_every);
        }
    }
    return wake;
}

bool Runners::idle() const {
    return std::all_of(slots_.begin(), slots_.end(),
                       [](const auto& entry) { return !entry.second.job && !entry.second.next; });
}

std::vector<OwnRunner> Runners::living() const {
    std::vector<OwnRunner> all;
    for (const auto& [device, slot] : slots_) {
        if (slot.child && slot.child->pid() > 0) {
            all.push_back({device, slot.child->pid()});
        }
    }
    return all;
}

// Moves the waiting job of a slot one step closer to running.
void Runners::pump(TimePoint now, Slot& slot) {
    if (!slot.next || slot.job) {
        return;
    }
    if (slot.child) {
        if (slot.closing) {
            return;
        }
        if (slot.last && may_share_process(*slot.last, slot.next->spec)) {
            give(now, slot);
        } else {
            close(now, slot);
        }
        return;
    }
    if (const Status started = spawn(slot, slot.next->device); !started) {
        const Dispatch dispatch = *slot.next;
        slot.next.reset();
        ended_.push_back(result_of(dispatch, {OutcomeClass::failure, started.error().message, ""}));
        return;
    }
    give(now, slot);
}

Status Runners::spawn(Slot& slot, const std::string& device) {
    std::vector<std::string> command = {
        settings_.program.string(), "job", "--device", device, "--result-fd", "3"};
    for (const std::filesystem::path& folder : settings_.models) {
        command.insert(command.end(), {"--models", folder.string()});
    }
    for (const std::filesystem::path& folder : settings_.data) {
        command.insert(command.end(), {"--data", folder.string()});
    }
    if (settings_.threads > 0) {
        command.insert(command.end(), {"--threads", std::to_string(settings_.threads)});
    }
    slot.child = TRY(Child::start(command));
    slot.closing.reset();
    slot.last.reset();
    return {};
}

void Runners::give(TimePoint now, Slot& slot) {
    WatchLimits limits = settings_.limits;
    limits.timeout = slot.next->timeout;
    slot.job = Job{*slot.next, JobWatch(limits, now), kernel_oom_kills(), now, now, ""};
    slot.last = slot.next->spec;
    slot.next.reset();
    slot.child->log_to(log_file(slot.job->dispatch));
    slot.child->give(to_json(Message(slot.job->dispatch)));
}

void Runners::close(TimePoint now, Slot& slot) {
    slot.closing = now;
    slot.child->finish_input();
}

void Runners::read_lines(TimePoint now, Slot& slot) {
    for (const std::string& line : slot.child->exchange()) {
        read_line(now, slot, line);
    }
    if (slot.job && slot.job->garbage.empty() && !slot.child->flood().empty()) {
        slot.job->garbage = slot.child->flood();
        slot.child->signal(SIGKILL);
    }
}

void Runners::read_line(TimePoint now, Slot& slot, const std::string& line) {
    if (!slot.job || !slot.job->garbage.empty()) {
        return;  // nobody asked
    }
    Job& job = *slot.job;
    if (is_progress(line)) {
        job.watch.progress(now);
        return;
    }
    Result<RunResult> result = result_from_json(line);
    if (!result) {
        job.garbage = result.error().message;
    } else if (result->key != job.dispatch.key || result->attempt != job.dispatch.attempt) {
        job.garbage = "the result of another job: " + result->key.value.substr(0, 64);
    } else {
        finish(now, slot, std::move(*result));
        return;
    }
    slot.child->signal(SIGKILL);
}

void Runners::urge(TimePoint now, Slot& slot) {
    if (slot.job) {
        const Urge urge = slot.job->watch.advance(now);
        if (urge != Urge::none) {
            slot.child->signal(urge == Urge::kill ? SIGKILL : SIGTERM);
        }
    } else if (slot.closing && now >= *slot.closing + settings_.limits.grace) {
        slot.child->signal(SIGKILL);
    }
}

// A job that eats the machine ends before the kernel has to choose a victim.
void Runners::weigh(TimePoint now, Slot& slot) {
    if (!slot.job || settings_.memory == 0 || now < slot.job->weighed + weigh_every) {
        return;
    }
    slot.job->weighed = now;
    const std::uint64_t held = resident_bytes(slot.child->pid());
    if (held > settings_.memory) {
        slot.job->watch.too_heavy(now, "the runner held " + std::to_string(held >> 20) +
                                           " MiB, the worker's limit is " +
                                           std::to_string(settings_.memory >> 20) + " MiB");
    }
}

void Runners::reap(TimePoint now, Slot& slot) {
    const std::optional<ChildEnd> end = slot.child->reap();
    if (!end) {
        return;
    }
    // Everything it wrote is in the pipe by now; a long result takes several turns.
    constexpr int most_turns = 128;
    for (int turn = 0; turn < most_turns && slot.child->descriptors().read[0] >= 0; ++turn) {
        read_lines(now, slot);
    }
    if (slot.job) {
        const std::uint64_t kills = kernel_oom_kills() - slot.job->oom_kills;
        RunnerEnd facts;
        facts.exit_status = end->exit_status;
        facts.signal = end->signal;
        facts.oom_note =
            kills > 0 ? "the kernel counted " + std::to_string(kills) + " out-of-memory kills" : "";
        facts.log_tail = slot.child->log_tail();
        facts.garbage = slot.job->garbage;
        facts.cause = slot.job->watch.cause();
        facts.cause_words = slot.job->watch.words();
        finish(now, slot, result_of(slot.job->dispatch, outcome_of(facts)));
    }
    slot.child.reset();
    slot.closing.reset();
}

void Runners::finish(TimePoint now, Slot& slot, RunResult result) {
    if (result.started_unix_ms == 0) {
        result.started_unix_ms = slot.job->started.unix_ms;
    }
    if (result.finished_unix_ms == 0) {
        result.finished_unix_ms = now.unix_ms;
    }
    const bool fresh_process = slot.job->dispatch.spec.protocol != Protocol::quick;
    const std::filesystem::path log = log_file(slot.job->dispatch);
    slot.job.reset();
    slot.idle_since = now;
    ended_.push_back(std::move(result));
    slot.child->log_to({});
    std::error_code code;
    if (std::filesystem::file_size(log, code) == 0 && !code) {
        std::filesystem::remove(log, code);
    }
    if (fresh_process && !slot.closing) {
        close(now, slot);
    }
}

std::filesystem::path Runners::log_file(const Dispatch& dispatch) const {
    return settings_.logs / (file_stem(dispatch.key, dispatch.attempt) + ".log");
}

}  // namespace bitsweep::agent
