#include "tests/sim/checkers.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "coordinator/scheduler/invariants.h"
#include "schemas/catalog/windows.h"
#include "tests/sim/simulator.h"

namespace bitsweep::sim {

namespace {

const ExperimentName sweep{"sweep"};

// The value of a text field of an event line that the server wrote.
std::string field(const std::string& json, const std::string& name) {
    const std::string start = "\"" + name + "\":\"";
    const std::size_t from = json.find(start);
    if (from == std::string::npos) {
        return {};
    }
    const std::size_t begin = from + start.size();
    return json.substr(begin, json.find('"', begin) - begin);
}

// Whether the newest event that sets or ends it sets it. Going on ends both.
bool holds(const FakeStore::Contents& contents, const char* setter) {
    for (auto event = contents.events.rbegin(); event != contents.events.rend(); ++event) {
        const std::string& kind = event->first;
        if (kind == setter || kind == "resumed" || kind == "retried" || kind == "submitted") {
            return kind == setter;
        }
    }
    return false;
}

std::int64_t max_fails(const FakeStore::Contents& contents) {
    for (const StoredExperiment& experiment : contents.experiments) {
        if (experiment.name == sweep) {
            return experiment.max_fails;
        }
    }
    return 0;
}

// Since the experiment was submitted, resumed or tried again last.
std::int64_t failures(const FakeStore::Contents& contents) {
    std::int64_t count = 0;
    for (const auto& [kind, json] : contents.events) {
        if (kind == "failed") {
            ++count;
        } else if (kind == "submitted" || kind == "retried" || kind == "resumed") {
            count = 0;
        }
    }
    return count;
}

// Whoever asks for another try gets it anywhere; of its own accord the scheduler must not.
bool tried_again_by_itself(const FakeStore::Contents& contents, const JobKey& key) {
    for (auto event = contents.events.rbegin(); event != contents.events.rend(); ++event) {
        if (event->first == "retry" && field(event->second, "key") == key.value) {
            return true;
        }
        if (event->first == "retried" || event->first == "resumed") {
            return false;
        }
    }
    return false;
}

}  // namespace

// ---- what the log says

bool Checkers::is_paused(const Contents& contents) {
    return holds(contents, "paused");
}

bool Checkers::is_stopped(const Contents& contents) {
    return holds(contents, "stopped");
}

bool Checkers::is_cancelled() const {
    const auto& events = store_.contents().events;
    const auto last = std::find_if(events.rbegin(), events.rend(),
                                   [](const auto& event) { return event.first == "stopped"; });
    return is_stopped() && field(last->second, "text") == order_reason;
}

std::vector<std::string> Checkers::quarantined(const Contents& contents) {
    std::set<std::string> aside;
    for (const auto& [kind, json] : contents.events) {
        const std::string card = field(json, "card");
        if (kind == "quarantine") {
            aside.insert(card);
        } else if (kind == "cleared") {
            aside.erase(card);
        }
    }
    return {aside.begin(), aside.end()};
}

// ---- on what is handed out

void Checkers::handed_out(const StoredState& job, const Contents& before, const std::string& kind) {
    if (is_paused(before)) {
        breach_("a job was handed out while its experiment was paused");
    }
    const std::int64_t limit = max_fails(before);
    if (limit > 0 && failures(before) >= limit) {
        breach_("a job was handed out beyond max_fails");
    } else if (is_stopped(before)) {
        breach_("a job was handed out after its experiment had ended");
    }
    watched_by_sentinels(job, before);
    const std::vector<std::string> aside = quarantined(before);
    if (std::count(aside.begin(), aside.end(), job.worker.value + "/" + job.device) > 0) {
        breach_("a device that was set aside got a job");
    }
    const auto last = before.runs.find({job.key, Attempt{job.attempt.value - 1}});
    if (last != before.runs.end() &&
        last->second.result.outcome.outcome == OutcomeClass::out_of_gpu_memory &&
        last->second.device_kind == kind && tried_again_by_itself(before, job.key)) {
        breach_("a job went again to the kind of card where its memory ran out");
    }
}

// A card is measured by its sentinel first, and again after as many jobs as the protocol says.
void Checkers::watched_by_sentinels(const StoredState& job, const Contents& before) {
    const StoredJob& known = before.jobs.at(job.key);
    const std::string card = job.worker.value + "/" + job.device;
    if (job.windows_again > sim_windows(known.cell.spec.protocol).again) {
        breach_("a cell was measured again more often than its protocol allows");
    }
    if (!known.reference.empty()) {
        since_sentinel_[card] = 0;
        if (known.card != card) {
            breach_("a sentinel of " + known.card + " was handed out to " + card);
        }
        return;
    }
    const int every = sim_windows(known.cell.spec.protocol).sentinel_every;
    if (every > 0 && (!since_sentinel_.contains(card) || ++since_sentinel_[card] > every)) {
        breach_("a card got more jobs between two sentinels than the protocol allows");
    }
}

// ---- on what leaves

void Checkers::dispatch(const Dispatch& dispatch, const std::string& session) {
    persisted_first(dispatch, session);
    alone_on_its_device(dispatch, session);
}

void Checkers::persisted_first(const Dispatch& dispatch, const std::string& session) {
    const StoredJob* job = store_.job(dispatch.key);
    if (job == nullptr || job->state != "running" || job->attempt != dispatch.attempt ||
        job->session.value != session) {
        breach_("a dispatch left before it was stored");
    }
}

void Checkers::alone_on_its_device(const Dispatch& dispatch, const std::string& session) {
    for (const auto& [key, other] : store_.contents().jobs) {
        if (key != dispatch.key && other.state == "running" && other.session.value == session &&
            other.device == dispatch.device) {
            breach_("two live attempts on " + dispatch.device + " of " + session);
        }
    }
}

void Checkers::acknowledgement(const ResultAck& ack) {
    const StoredJob* job = store_.job(ack.key);
    if (job != nullptr && job->state == "running" && job->attempt == ack.attempt) {
        breach_("a result was acknowledged before it was stored");
    }
}

void Checkers::submitted(const ExperimentName& experiment) {
    const auto members = store_.contents().members.find(experiment);
    if (members == store_.contents().members.end() || members->second.empty()) {
        breach_("a submission was acknowledged before it was stored");
    }
}

// An order is answered only when a restart would know of it: never more answers than stored orders.
void Checkers::obeyed(const Controlled& answer) {
    const auto check = [&](const char* words, const char* kind, std::int64_t& answers) {
        if (answer.words.rfind(words, 0) != 0) {
            return;
        }
        std::int64_t stored = 0;
        for (const auto& [event, json] : store_.contents().events) {
            stored += event == kind && field(json, "text") == order_reason ? 1 : 0;
        }
        if (++answers > stored) {
            breach_("an order was answered before it was stored");
        }
    };
    check("paused", "paused", pauses_answered_);
    check("cancelled", "stopped", cancels_answered_);
}

// ---- after a turn

void Checkers::agreement(const Loop& loop) {
    const scheduler::State& state = loop.scheduler().state();
    for (const std::string& sentence : scheduler::broken_invariants(state)) {
        breach_(sentence);
    }
    if (!loop.store_trouble().empty()) {
        return;
    }
    for (const scheduler::Job& job : state.jobs()) {
        const StoredJob* stored = store_.job(job.key());
        std::string word(scheduler::state_word(job.state()));
        word = word == "backoff" ? "waiting" : word;
        if (stored == nullptr || stored->state != word || stored->attempt != job.attempt() ||
            stored->windows_again != job.told().windows_again) {
            breach_("memory and store disagree about a job that is " + word);
        }
    }
    const scheduler::Experiment* experiment = state.find_experiment(sweep);
    if (experiment != nullptr && experiment->paused.empty() == is_paused()) {
        breach_("memory and store disagree about a pause");
    }
}

// ---- at the end

namespace {

bool is_done(const FinishedRun& run) {
    return run.result.outcome.outcome == OutcomeClass::done;
}

// Whether `text` is KEY#ATTEMPT of a run; the run.
const FinishedRun* tied_to(const FakeStore::Contents& contents, const RunResult& result) {
    const auto tie = result.provenance.find("sentinel");
    if (tie == result.provenance.end()) {
        return nullptr;
    }
    const std::size_t mark = tie->second.find('#');
    const Attempt attempt{static_cast<std::uint32_t>(std::stoul(tie->second.substr(mark + 1)))};
    const auto run = contents.runs.find({JobKey{tie->second.substr(0, mark)}, attempt});
    return run == contents.runs.end() ? nullptr : &run->second;
}

}  // namespace

// One result of each cell: the newest whose window counts, else the newest.
void Checkers::what_is_shown() {
    const Contents& contents = store_.contents();
    std::map<JobKey, Attempt> newest;
    std::map<JobKey, Attempt> newest_valid;
    for (const auto& [id, run] : contents.runs) {  // attempts ascend
        if (is_done(run)) {
            newest[id.first] = id.second;
            if (why_invalid(run.result).empty()) {
                newest_valid[id.first] = id.second;
            }
        }
    }
    for (const auto& [key, shown] : contents.shown) {
        const auto valid = newest_valid.find(key);
        if (contents.sentinels.contains(key)) {
            continue;
        }
        if (valid != newest_valid.end() && shown != valid->second) {
            breach_("what is shown is not the newest window that counts");
        } else if (valid == newest_valid.end() && shown != newest[key]) {
            breach_("what is shown is not the newest result");
        }
    }
    for (const auto& [key, attempt] : newest) {
        if (!contents.shown.contains(key)) {
            breach_("a result is not shown");
        }
    }
}

void Checkers::drift_is_flagged() {
    const Contents& contents = store_.contents();
    std::set<const FinishedRun*> began;  // windows at whose end the card was another one
    for (const auto& [id, run] : contents.runs) {
        const FinishedRun* before = tied_to(contents, run.result);
        if (contents.sentinels.contains(id.first) && is_done(run) && before != nullptr &&
            store_.job(id.first)->attempt >= id.second) {
            const double ratio = rate_of(run.result) / rate_of(before->result);
            // One that was itself disturbed is measured again before it judges.
            const bool judged = why_invalid(run.result).empty();
            if (judged && std::fabs(ratio - 1) > largest_sentinel_drift) {
                began.insert(before);
            }
        }
    }
    for (const auto& [id, run] : contents.runs) {
        if (!contents.sentinels.contains(id.first) && is_done(run) &&
            began.contains(tied_to(contents, run.result)) && why_invalid(run.result).empty()) {
            breach_("a window between two sentinels that differ still counts");
        }
    }
}

void Checkers::end(const std::vector<std::unique_ptr<SimWorker>>& workers) {
    for (const auto& [id, run] : store_.contents().runs) {
        if (run.result.outcome.outcome == OutcomeClass::lost_worker &&
            run.result.outcome.evidence.empty()) {
            breach_("an attempt was given up without evidence");
        }
    }
    for (const auto& [key, job] : store_.contents().jobs) {
        const bool sentinel = !job.reference.empty();
        if (job.state == "cancelled" && (is_stopped() || sentinel)) {
            continue;  // max_fails; a card that went away
        }
        const bool shown = store_.contents().shown.contains(key);
        if (job.state != "done" && job.state != "failed") {
            breach_("a job never ended: it is " + job.state);
        } else if (job.state == "done" && !shown) {
            breach_("a job that is done has no result");
        } else if (job.state == "failed" && shown && !sentinel && job.shown != "flagged") {
            breach_("a job that is failed has a result");
        }
        if (job.crashes > job.cell.policy.retries_crash + 1) {
            breach_("a job was tried again beyond its budget");
        }
    }
    what_is_shown();
    drift_is_flagged();
    for (const auto& worker : workers) {
        if (!worker->outbox_empty()) {
            breach_("the outbox of " + worker->name() + " never emptied");
        }
    }
}

// ---- replay

void Recording::begin(scheduler::Snapshot snapshot, TimePoint now) {
    snapshot_ = std::move(snapshot);
    began_ = now;
    events_.clear();
}

std::string Recording::difference(const scheduler::Scheduler& real, Replay how) const {
    scheduler::Scheduler again(real.options());
    again.restore(snapshot_, began_);
    for (std::size_t i = 0; i < events_.size(); ++i) {
        const bool left_out = how == Replay::without_one &&
                              std::holds_alternative<scheduler::ResultArrived>(events_[i].second);
        if (!left_out) {
            (void)again.step(events_[i].first, events_[i].second);
        }
    }
    const auto& jobs = real.state().jobs();
    if (again.state().jobs().size() != jobs.size()) {
        return "a replay of the events knows another number of jobs";
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        const scheduler::JobRecord job = jobs[i].record();
        const scheduler::JobRecord other = again.state().jobs()[i].record();
        if (job.key != other.key || job.state.index() != other.state.index() ||
            job.attempt != other.attempt || job.crashes != other.crashes ||
            job.failures != other.failures || job.kinds_tried != other.kinds_tried ||
            job.windows_again != other.windows_again || job.shown != other.shown) {
            return "a replay of the events gives another state of job " + job.key.value;
        }
    }
    return {};
}

}  // namespace bitsweep::sim
