#include "coordinator/server/recover.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <unordered_map>

#include "coordinator/scheduler/explain.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/server/convert.h"

namespace bitsweep {

namespace {

using Bindings = std::map<std::string, std::string>;

Status read_bindings(Store& store, const std::string& kind, Bindings& bindings) {
    const Table table =
        TRY(store.query("SELECT name, digest FROM bindings WHERE kind = '" + kind + "'"));
    for (const auto& row : table.rows) {
        bindings[row.at(0).text] = row.at(1).text;
    }
    return {};
}

// Why attempts were done again, from the event log: job key -> (why -> count).
Result<std::unordered_map<std::string, std::map<std::string, std::int64_t>>> read_retries(
    Store& store) {
    const Table table = TRY(store.query(
        "SELECT json_extract(json, '$.key'), json_extract(json, '$.text'), count(*) FROM events "
        "WHERE kind = 'retry' GROUP BY 1, 2"));
    std::unordered_map<std::string, std::map<std::string, std::int64_t>> retries;
    for (const auto& row : table.rows) {
        retries[row.at(0).text][row.at(1).text] = row.at(2).integer;
    }
    return retries;
}

// Which jobs each experiment wants, in run order.
Result<std::unordered_map<std::string, std::vector<JobKey>>> read_members(Store& store) {
    Table table = TRY(
        store.query("SELECT l.experiment, c.key FROM experiment_jobs l CROSS JOIN job_specs c ON "
                    "c.id = l.job WHERE l.asked = 1 ORDER BY l.id"));
    std::unordered_map<std::string, std::vector<JobKey>> members;
    for (auto& row : table.rows) {
        members[row.at(0).text].push_back(JobKey{std::move(row.at(1).text)});
    }
    return members;
}

// What people ordered and what was set aside, from the event log: the last word counts.
Status read_orders(Store& store, scheduler::Snapshot& snapshot) {
    const Table table = TRY(store.query(
        "SELECT kind, json_extract(json, '$.experiment'), json_extract(json, '$.key'), "
        "json_extract(json, '$.worker'), json_extract(json, '$.device'), "
        "json_extract(json, '$.card'), json_extract(json, '$.text') FROM events WHERE kind IN "
        "('submitted', 'paused', 'resumed', 'stopped', 'retried', 'failed', 'quarantine', "
        "'cleared') ORDER BY id"));
    const bool any_failed = std::any_of(table.rows.begin(), table.rows.end(),
                                        [](const auto& row) { return row.at(0).text == "failed"; });
    std::map<std::string, scheduler::Snapshot::Sweep*> sweeps;
    std::unordered_map<std::string, std::vector<scheduler::Snapshot::Sweep*>> owners;
    for (scheduler::Snapshot::Sweep& sweep : snapshot.experiments) {
        sweeps[sweep.name.value] = &sweep;
        for (std::size_t i = 0; any_failed && i < sweep.jobs.size(); ++i) {
            owners[sweep.jobs[i].value].push_back(&sweep);
        }
    }
    for (const auto& row : table.rows) {
        const std::string& kind = row.at(0).text;
        const std::string& text = row.at(6).text;
        if (kind == "quarantine") {
            snapshot.quarantines[row.at(5).text] = {WorkerName{row.at(3).text}, row.at(4).text,
                                                    text};
        } else if (kind == "cleared") {
            snapshot.quarantines.erase(row.at(5).text);
        } else if (kind == "failed") {
            for (scheduler::Snapshot::Sweep* sweep : owners[row.at(2).text]) {
                ++sweep->failures;
            }
        } else if (const auto found = sweeps.find(row.at(1).text); found != sweeps.end()) {
            scheduler::Snapshot::Sweep& sweep = *found->second;
            if (kind == "paused") {
                sweep.paused = text;
            } else if (kind == "stopped") {
                sweep.stopped = text;
            } else {
                sweep.paused.clear();
                sweep.stopped.clear();
                sweep.failures = 0;
            }
        }
    }
    return {};
}

// The newest measurement of each sentinel, and what was measured since on its card.
Status read_windows(Store& store, std::vector<scheduler::Snapshot::Sentinel>& sentinels) {
    std::map<std::string, scheduler::Snapshot::Sentinel*> by_key;
    const Table newest = TRY(store.query(
        "SELECT j.key, r.attempt, COALESCE((SELECT value FROM measurements WHERE run = r.id AND "
        "sample = 0 AND metric = 'decode_tokens_per_s'), (SELECT value FROM measurements WHERE run "
        "= r.id AND sample = 0 AND metric = 'prefill_tokens_per_s'), 0) FROM sentinels s JOIN jobs "
        "j ON j.id = s.job JOIN runs r ON r.id = j.result ORDER BY s.job"));
    for (scheduler::Snapshot::Sentinel& sentinel : sentinels) {
        by_key[sentinel.job.key.value] = &sentinel;
    }
    for (const auto& row : newest.rows) {
        if (const auto found = by_key.find(row.at(0).text); found != by_key.end()) {
            found->second->attempt.value = static_cast<std::uint32_t>(row.at(1).integer);
            found->second->rate = row.at(2).real;
        }
    }
    const Table tied = TRY(store.query(
        "SELECT json_extract(r.provenance, '$.sentinel'), j.key FROM jobs j JOIN runs r ON r.id = "
        "j.result WHERE j.state = 'done' AND j.shown = 'valid' AND r.attempt = j.attempt AND "
        "j.protocol = 'headline' AND json_extract(r.provenance, '$.sentinel') IS NOT NULL ORDER BY "
        "r.id"));
    for (const auto& row : tied.rows) {
        const std::string& tie = row.at(0).text;
        const std::size_t mark = tie.rfind('#');
        const auto found = by_key.find(tie.substr(0, mark));
        if (mark != std::string::npos && found != by_key.end() &&
            tie.substr(mark + 1) == std::to_string(found->second->attempt.value)) {
            found->second->measured.push_back(JobKey{row.at(1).text});
        }
    }
    return {};
}

// Jobs that watch a card. Their cells are those of other jobs, so only the rest is read.
Status read_sentinels(Store& store, scheduler::Snapshot& snapshot) {
    const Table table = TRY(store.query(
        "SELECT s.experiment, f.key, s.card, j.key, j.state, j.attempt, j.crashes, j.failures, "
        "j.worker, j.session, j.device, j.last_outcome, j.last_message, j.windows_again, j.shown "
        "FROM sentinels s JOIN jobs j ON j.id = s.job JOIN jobs f ON f.id = s.reference ORDER BY "
        "s.job"));
    for (const auto& row : table.rows) {
        StoredJob stored;
        stored.reference = JobKey{row.at(1).text};
        stored.card = row.at(2).text;
        stored.key = JobKey{row.at(3).text};
        stored.state = row.at(4).text;
        stored.attempt.value = static_cast<std::uint32_t>(row.at(5).integer);
        stored.crashes = static_cast<int>(row.at(6).integer);
        stored.failures = static_cast<int>(row.at(7).integer);
        stored.worker = WorkerName{row.at(8).text};
        stored.session = SessionId{row.at(9).text};
        stored.device = row.at(10).text;
        stored.last_outcome = outcome_from_string(row.at(11).text).value_or(OutcomeClass::failure);
        stored.last_message = row.at(12).text;
        stored.windows_again = static_cast<int>(row.at(13).integer);
        stored.shown = row.at(14).text;
        snapshot.sentinels.push_back(
            {ExperimentName{row.at(0).text}, TRY(from_stored(stored)), 0, {}, {}});
    }
    return snapshot.sentinels.empty() ? Status{} : read_windows(store, snapshot.sentinels);
}

// How long jobs took, by model, for the ETA and for workers that end at a known time.
Status read_paces(Store& store, scheduler::Snapshot& snapshot) {
    const Table table = TRY(store.query(
        "SELECT p.model, count(*), sum(r.finished_unix_ms - r.started_unix_ms) FROM runs r CROSS "
        "JOIN job_states s ON s.id = r.job AND s.result = r.id CROSS JOIN job_specs c ON c.id = "
        "s.id CROSS JOIN shared_specs p ON p.id = c.shared WHERE r.finished_unix_ms > "
        "r.started_unix_ms GROUP BY 1"));
    for (const auto& row : table.rows) {
        snapshot.paces[row.at(0).text] = {row.at(1).integer, row.at(2).integer};
    }
    return {};
}

// What cards were seen to hold at most.
Status read_peaks(Store& store, scheduler::Snapshot& snapshot) {
    // From the few runs on cards to their measurements, not the other way round.
    const Table table = TRY(store.query(
        "SELECT c.key, CAST(m.value AS INTEGER) FROM runs r CROSS JOIN job_states s ON s.id = "
        "r.job AND s.result = r.id CROSS JOIN measurements m ON m.run = r.id AND m.sample = 0 AND "
        "m.metric = '" +
        std::string(scheduler::peak_metric) +
        "' CROSS JOIN job_specs c ON c.id = s.id WHERE r.device <> 'cpu' AND m.value > 0"));
    std::unordered_map<std::string, std::uint64_t> by_key;
    for (const auto& row : table.rows) {
        by_key[row.at(0).text] = static_cast<std::uint64_t>(row.at(1).integer);
    }
    for (const scheduler::JobRecord& job : snapshot.jobs) {
        const auto found = by_key.find(job.key.value);
        if (found != by_key.end()) {
            const std::string footprint = scheduler::footprint(job.cell->spec, false);
            const auto peak = snapshot.peaks.emplace(footprint, found->second).first;
            peak->second = std::min(peak->second, found->second);
        }
    }
    return {};
}

}  // namespace

Result<scheduler::Snapshot> recover(Store& store) {
    scheduler::Snapshot snapshot;
    {
        std::vector<StoredJob> jobs = TRY(store.jobs(ExperimentName{}));
        snapshot.jobs.reserve(jobs.size());
        for (StoredJob& stored : jobs) {
            snapshot.jobs.push_back(TRY(from_stored(std::move(stored))));
        }
    }
    TRY(read_bindings(store, "model", snapshot.bound_models));
    TRY(read_bindings(store, "text", snapshot.bound_texts));
    const auto retries = TRY(read_retries(store));
    auto members = TRY(read_members(store));
    for (StoredExperiment& stored : TRY(store.experiments())) {
        scheduler::Snapshot::Sweep sweep;
        sweep.name = stored.name;
        sweep.templates = std::move(stored.templates);
        sweep.max_fails = stored.max_fails;
        sweep.jobs = std::move(members[stored.name.value]);
        for (const JobKey& member : sweep.jobs) {
            const auto known = retries.find(member.value);
            if (known != retries.end()) {
                for (const auto& [why, count] : known->second) {
                    sweep.retries[why] += count;
                }
            }
        }
        snapshot.experiments.push_back(std::move(sweep));
    }
    TRY(read_orders(store, snapshot));
    TRY(read_sentinels(store, snapshot));
    TRY(read_paces(store, snapshot));
    TRY(read_peaks(store, snapshot));
    return snapshot;
}

Result<std::string> database_name(Store& store, TimePoint now) {
    const Table known =
        TRY(store.query("SELECT json_extract(json, '$.text') FROM events WHERE kind = 'named' "
                        "ORDER BY id LIMIT 1"));
    if (!known.rows.empty()) {
        return known.rows[0].at(0).text;
    }
    std::random_device random;
    char name[33];
    std::snprintf(name, sizeof name, "%08x%08x%08x%08x", random(), random(), random(), random());
    scheduler::LogEvent event;
    event.kind = "named";
    event.text = name;
    TRY(store.transact(
        [&](StoreWriter& writer) { return writer.put_event(now, event.kind, event_json(event)); }));
    return std::string(name);
}

Result<Explanation> explain_stored(Store& store, const std::string& job, TimePoint now) {
    scheduler::Scheduler scheduler{scheduler::Options{}};
    scheduler.restore(TRY(recover(store)), now);
    Explanation told = TRY(scheduler::explain(scheduler.state(), job, now, {}));
    if (told.state != "done" && told.state != "failed" && told.state != "cancelled") {
        told.lines.insert(
            told.lines.begin(),
            "no coordinator serves this database: `bitsweep serve`, or `bitsweep run` "
            "of the experiment, goes on with it");
    }
    return told;
}

}  // namespace bitsweep
