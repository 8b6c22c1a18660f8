#include "tests/scheduler/builders.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schemas/catalog/windows.h"

namespace bitsweep::scheduler {

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts{""};
    for (const char c : text) {
        if (c == separator) {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    return parts;
}

std::string attempt_words(const JobKey& key, Attempt attempt) {
    return key.value + "#" + std::to_string(attempt.value);
}

struct MessageWords {
    std::string operator()(const Welcome&) const { return "welcome"; }
    std::string operator()(const Drain&) const { return "drain"; }
    std::string operator()(const Dispatch& m) const {
        std::string words = "dispatch " + attempt_words(m.key, m.attempt) + " on " + m.device;
        return m.weights_digest.empty() ? words : words + " weights " + m.weights_digest;
    }
    std::string operator()(const Cancel& m) const {
        return "cancel " + attempt_words(m.key, m.attempt) + ": " + m.reason;
    }
    std::string operator()(const ResultAck& m) const {
        return "ack " + attempt_words(m.key, m.attempt);
    }
    std::string operator()(const Refusal& m) const {
        return "refusal " + std::string(to_string(m.code)) + ": " + m.reason;
    }
};

struct CommandWords {
    std::string operator()(const StoreNewJob& c) const {
        return "link " + c.experiment.value + " " + in_words(c.job);
    }
    std::string operator()(const StoreFormer& c) const {
        return "former " + c.experiment.value + " " + c.key.value;
    }
    std::string operator()(const StoreJob& c) const { return "job " + in_words(c.job); }
    std::string operator()(const StoreRun& c) const {
        const auto tied = c.result->provenance.find("sentinel");
        return "run " + attempt_words(c.result->key, c.result->attempt) + " " +
               std::string(to_string(c.result->outcome.outcome)) + " on " + c.worker.value + "/" +
               c.device +
               (c.result->outcome.outcome == OutcomeClass::done && !c.shown ? " unseen" : "") +
               (tied == c.result->provenance.end() ? "" : " after " + tied->second);
    }
    std::string operator()(const StoreSentinel& c) const {
        return "sentinel " + c.experiment.value + " of " + c.job.sentinel->reference.value +
               " on " + c.job.sentinel->card + ": " + in_words(c.job);
    }
    std::string operator()(const StoreVerdict& c) const {
        return "verdict " + attempt_words(c.key, c.attempt) + " " + c.verdict.metric;
    }
    std::string operator()(const LogEvent& c) const {
        std::string words = "log " + c.kind;
        words += c.key.empty() ? "" : " " + attempt_words(c.key, c.attempt);
        words += c.experiment.empty() ? "" : " " + c.experiment.value;
        words += c.device.empty() ? "" : ": " + c.device + " of worker " + c.worker.value;
        return words + ": " + c.text;
    }
    std::string operator()(const Send& c) const {
        return c.to.value + " <- " + std::visit(MessageWords{}, c.message);
    }
    std::string operator()(const Instantiate& c) const {
        std::string words = "instantiate " + c.experiment.value + (c.force ? " force" : "");
        for (const Cell& cell : c.cells) {
            words += " " + cell.spec.model.name + "/" + cell.spec.method + "/" + cell.spec.gpu;
        }
        return words;
    }
    std::string operator()(const Obeyed& c) const {
        return c.answer ? "obeyed: " + c.answer->words
                        : "not obeyed: " + std::string(to_string(c.answer.error().code)) + ": " +
                              c.answer.error().message;
    }
    std::string operator()(const Answer& c) const {
        const Submitted& s = c.counts;
        return "answer " + s.experiment.value + ": " + std::to_string(s.cells) + " cells, " +
               std::to_string(s.new_cells) + " new, " + std::to_string(s.done) + " done, " +
               std::to_string(s.running) + " running, " + std::to_string(s.failed_before) +
               " failed before, " + std::to_string(s.impossible) + " impossible" +
               (s.former > 0 ? ", " + std::to_string(s.former) + " former" : "");
    }
};

}  // namespace

Cell cell(const std::string& words) {
    const std::vector<std::string> parts = split(words, '/');
    Cell cell;
    cell.spec.model.name = parts.at(0);
    cell.spec.method = parts.at(1);
    cell.spec.gpu = parts.size() > 2 ? parts[2] : "cpu";
    return cell;
}

ResolvedCell resolved(const std::string& words) {
    const std::vector<std::string> parts = split(words, '=');
    return {JobKey{parts.at(0)}, std::make_shared<const Cell>(cell(parts.at(1)))};
}

Cell& edit(ResolvedCell& one) {
    auto own = std::make_shared<Cell>(*one.cell);
    one.cell = own;
    return *own;
}

DeviceInfo device(const std::string& words) {
    const std::vector<std::string> parts = split(words, '=');
    DeviceInfo info;
    info.id = parts.at(0);
    info.kind = parts.size() > 1 ? parts[1] : parts[0];
    info.name = info.kind;
    info.memory_bytes = std::stoull(parts.size() > 2 ? parts[2] : "16") << 30;
    return info;
}

DeviceState device_state(const std::string& words) {
    const std::vector<std::string> parts = split(words, '=');
    return {parts.at(0), std::stoull(parts.at(1)) << 30, parts.size() > 2 ? parts[2] : ""};
}

Needs test_needs(const JobSpec& spec) {
    return {spec.model.name == "big" ? 20ull << 30 : 0, spec.method != "cuda-only",
            spec.method != "cpu-only", 0};
}

Options test_options() {
    Options options;
    options.needs = test_needs;
    options.cuda_context_bytes = 1ull << 30;
    return options;
}

Hello hello(const std::string& session, std::vector<std::string> devices,
            std::vector<std::string> models, std::vector<RunningJob> running) {
    Hello hello;
    hello.session = SessionId{session};
    hello.worker = WorkerName{session.substr(0, session.find('-'))};
    hello.host = "host";
    for (const std::string& words : devices) {
        hello.devices.push_back(device(words));
    }
    hello.models = std::move(models);
    hello.running = std::move(running);
    return hello;
}

RunningJob attempt(const std::string& words) {
    const std::vector<std::string> parts = split(words, '#');
    return {JobKey{parts.at(0)}, Attempt{static_cast<std::uint32_t>(std::stoul(parts.at(1)))}};
}

ResultArrived result(const std::string& session, const std::string& words, OutcomeClass outcome,
                     std::string message, std::string weights_digest) {
    RunResult run;
    run.key = attempt(words).key;
    run.attempt = attempt(words).attempt;
    run.outcome = {outcome, std::move(message), {}};
    run.weights_digest = std::move(weights_digest);
    return {SessionId{session}, std::make_shared<const RunResult>(std::move(run))};
}

Submission submission(const std::string& experiment, const std::vector<std::string>& cells) {
    Submission made;
    made.experiment = ExperimentName{experiment};
    for (const std::string& words : cells) {
        made.cells.push_back(resolved(words));
    }
    return made;
}

std::string in_words(const JobRecord& job) {
    std::string words = job.key.value + " " + std::string(state_word(job.state)) + " #" +
                        std::to_string(job.attempt.value);
    if (const auto* running = std::get_if<Running>(&job.state)) {
        words += " " + running->session.value + "/" + running->device;
    } else if (const auto* backoff = std::get_if<Backoff>(&job.state)) {
        words += " until " + std::to_string(backoff->until.unix_ms);
    } else if (const auto* failed = std::get_if<Failed>(&job.state)) {
        words += " " + std::string(to_string(failed->outcome)) + ": " + failed->message;
    } else if (const auto* cancelled = std::get_if<Cancelled>(&job.state)) {
        words += ": " + cancelled->reason;
    }
    words += job.crashes > 0 ? " crashes " + std::to_string(job.crashes) : "";
    words += job.failures > 0 ? " failures " + std::to_string(job.failures) : "";
    words += job.windows_again > 0 ? " again " + std::to_string(job.windows_again) : "";
    words += job.shown == Shown::flagged ? " flagged" : "";
    return words;
}

std::string in_words(const Command& command) {
    return std::visit(CommandWords{}, command);
}

void Persisted::take(const Command& command) {
    if (const auto* added = std::get_if<StoreNewJob>(&command)) {
        if (jobs_.emplace(added->job.key, added->job).second) {
            order_.push_back(added->job.key);
        }
        auto& members = members_[added->experiment];
        if (std::find(members.begin(), members.end(), added->job.key) == members.end()) {
            members.push_back(added->job.key);
        }
    } else if (const auto* sentinel = std::get_if<StoreSentinel>(&command)) {
        sentinels_[sentinel->job.key] = {sentinel->experiment, sentinel->job, 0, {}, {}};
        jobs_.emplace(sentinel->job.key, sentinel->job);
    } else if (const auto* former = std::get_if<StoreFormer>(&command)) {
        std::erase(members_[former->experiment], former->key);
    } else if (const auto* changed = std::get_if<StoreJob>(&command)) {
        static_cast<JobLife&>(jobs_.at(changed->job.key)) = changed->job;
    } else if (const auto* event = std::get_if<LogEvent>(&command)) {
        take_log(*event);
    } else if (const auto* run = std::get_if<StoreRun>(&command)) {
        const RunResult& result = *run->result;
        take_run(result);
        if (result.outcome.outcome == OutcomeClass::done && !result.weights_digest.empty()) {
            bound_models_.emplace(jobs_.at(result.key).cell->spec.model.name,
                                  result.weights_digest);
        }
    }
}

void Persisted::submitted(const Submission& submission) {
    members_[submission.experiment];
    orders_[submission.experiment] = {submission.experiment, {}, submission.templates};
    orders_[submission.experiment].max_fails = submission.max_fails;
}

// The same reading of the runs as server/recover.cpp.
void Persisted::take_run(const RunResult& result) {
    const auto sentinel = sentinels_.find(result.key);
    if (sentinel != sentinels_.end() && result.outcome.outcome == OutcomeClass::done) {
        sentinel->second.rate = rate_of(result);
        sentinel->second.attempt = result.attempt;
        sentinel->second.measured.clear();
    }
    const auto tie = result.provenance.find("sentinel");
    for (auto& [key, one] : sentinels_) {
        if (tie != result.provenance.end() && key != result.key &&
            tie->second == key.value + "#" + std::to_string(one.attempt.value)) {
            one.measured.push_back(result.key);
        }
    }
}

// The same reading of the log as server/recover.cpp.
void Persisted::take_log(const LogEvent& event) {
    Snapshot::Sweep& sweep = orders_[event.experiment];
    if (event.kind == "quarantine") {
        quarantines_[event.card] = {event.worker, event.device, event.text};
    } else if (event.kind == "cleared") {
        quarantines_.erase(event.card);
    } else if (event.kind == "failed") {
        for (const auto& [name, keys] : members_) {
            orders_[name].failures += std::count(keys.begin(), keys.end(), event.key);
        }
    } else if (event.kind == "paused") {
        sweep.paused = event.text;
    } else if (event.kind == "stopped") {
        sweep.stopped = event.text;
    } else if (event.kind == "resumed" || event.kind == "retried") {
        sweep.paused.clear();
        sweep.stopped.clear();
        sweep.failures = 0;
    }
}

Snapshot Persisted::snapshot() const {
    Snapshot snapshot;
    for (const JobKey& key : order_) {
        snapshot.jobs.push_back(jobs_.at(key));
        if (std::holds_alternative<Backoff>(snapshot.jobs.back().state)) {
            snapshot.jobs.back().state = Waiting{};
        }
    }
    for (const auto& [key, sentinel] : sentinels_) {
        snapshot.sentinels.push_back(sentinel);
        snapshot.sentinels.back().job = jobs_.at(key);
        if (std::holds_alternative<Backoff>(snapshot.sentinels.back().job.state)) {
            snapshot.sentinels.back().job.state = Waiting{};
        }
    }
    for (const auto& [name, keys] : members_) {
        const auto order = orders_.find(name);
        Snapshot::Sweep sweep = order == orders_.end() ? Snapshot::Sweep{} : order->second;
        sweep.name = name;
        sweep.jobs = keys;
        snapshot.experiments.push_back(std::move(sweep));
    }
    snapshot.quarantines = quarantines_;
    snapshot.bound_models = bound_models_;
    return snapshot;
}

}  // namespace bitsweep::scheduler
