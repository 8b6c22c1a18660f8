#include "tests/sim/fake_store.h"

#include <algorithm>
#include <cmath>

#include "schemas/catalog/windows.h"

namespace bitsweep::sim {

namespace {

std::string name_of(const JobKey& key, Attempt attempt) {
    return key.value.substr(0, 8) + "#" + std::to_string(attempt.value);
}

// The text between `"text":"` and the closing quote; enough for the event lines of the server.
std::string text_in(const std::string& json, const std::string& field) {
    const std::string start = "\"" + field + "\":\"";
    const std::size_t from = json.find(start);
    if (from == std::string::npos) {
        return {};
    }
    const std::size_t begin = from + start.size();
    return json.substr(begin, json.find('"', begin) - begin);
}

Table::Value text_value(std::string text) {
    Table::Value value;
    value.kind = Table::Kind::text;
    value.text = std::move(text);
    return value;
}

Table::Value number_value(std::int64_t number) {
    Table::Value value;
    value.kind = Table::Kind::integer;
    value.integer = number;
    return value;
}

Table::Value real_value(double number) {
    Table::Value value;
    value.kind = Table::Kind::real;
    value.real = number;
    return value;
}

// The sentinels, in the order in which a restart reads them.
Table sentinel_rows(const FakeStore::Contents& contents) {
    Table table;
    for (const auto& [key, experiment] : contents.sentinels) {
        const StoredJob& job = contents.jobs.at(key);
        table.rows.push_back(
            {text_value(experiment.value), text_value(job.reference.value), text_value(job.card),
             text_value(key.value), text_value(job.state), number_value(job.attempt.value),
             number_value(job.crashes), number_value(job.failures), text_value(job.worker.value),
             text_value(job.session.value), text_value(job.device),
             text_value(std::string(to_string(job.last_outcome))), text_value(job.last_message),
             number_value(job.windows_again), text_value(job.shown)});
    }
    return table;
}

Table newest_rows(const FakeStore::Contents& contents) {
    Table table;
    for (const auto& [key, experiment] : contents.sentinels) {
        const auto shown = contents.shown.find(key);
        if (shown != contents.shown.end()) {
            const double rate = rate_of(contents.runs.at({key, shown->second}).result);
            table.rows.push_back({text_value(key.value), number_value(shown->second.value),
                                  real_value(std::isnan(rate) ? 0 : rate)});
        }
    }
    return table;
}

Table tied_rows(const FakeStore::Contents& contents) {
    Table table;
    for (const auto& [key, attempt] : contents.shown) {
        const StoredJob& job = contents.jobs.at(key);
        const RunResult& result = contents.runs.at({key, attempt}).result;
        const auto tie = result.provenance.find("sentinel");
        if (job.state == "done" && job.shown == "valid" && job.attempt == attempt &&
            tie != result.provenance.end() && !contents.sentinels.contains(key)) {
            table.rows.push_back({text_value(tie->second), text_value(key.value)});
        }
    }
    return table;
}

}  // namespace

// What a transaction does. It has no way back: whoever begins one has checked what is in it.
class FakeStore::Writer : public StoreWriter {
 public:
    Writer(Contents& contents, FakeStore& store) : c_(contents), store_(store) {}

    Status put_experiment(const StoredExperiment& experiment) override {
        std::erase_if(c_.experiments, [&](const auto& e) { return e.name == experiment.name; });
        c_.experiments.push_back(experiment);
        c_.members[experiment.name];
        return {};
    }

    Status put_job(const ExperimentName& experiment, const JobView& view,
                   Membership membership) override {
        const StoredJob job{view.state, view.cell, JobKey{std::string(view.reference)},
                            std::string(view.card)};
        if (membership == Membership::former) {
            std::erase(c_.members[experiment], job.key);
            return {};
        }
        const auto [entry, is_new] = c_.jobs.emplace(job.key, job);
        if (membership == Membership::sentinel) {
            c_.sentinels[job.key] = experiment;
            return {};
        }
        if (is_new) {
            c_.order.push_back(job.key);
        }
        entry->second.cell.policy = job.cell.policy;  // of the link, in the real one
        auto& members = c_.members[experiment];
        if (std::find(members.begin(), members.end(), job.key) == members.end()) {
            members.push_back(job.key);
        }
        return {};
    }

    Status set_job(const StoredState& job) override {
        const auto found = c_.jobs.find(job.key);
        if (found == c_.jobs.end()) {
            return make_error(ErrorCode::not_found, "job " + job.key.value);
        }
        const StoredJob& before = found->second;
        if (job.attempt < before.attempt) {
            breach("the attempt of " + name_of(job.key, before.attempt) + " went backwards");
        }
        const bool again =
            job.windows_again > before.windows_again || c_.sentinels.contains(job.key);
        if (before.state == "done" && job.state != "done" && !again && !store_.reopening_allowed) {
            breach(name_of(job.key, before.attempt) + " was done and became " + job.state);
        }
        if (before.state == "running" && job.state == "running" && before.attempt != job.attempt) {
            breach(name_of(job.key, job.attempt) + " was handed out while an attempt ran");
        }
        if (job.state == "running" && job.attempt > before.attempt && store_.on_handed_out) {
            store_.on_handed_out(job, c_);
        }
        static_cast<StoredState&>(found->second) = job;  // its cell stays, as in the real one
        return {};
    }

    Status put_run(const FinishedRun& run) override {
        const auto job = c_.jobs.find(run.result.key);
        const std::string name = name_of(run.result.key, run.result.attempt);
        if (job == c_.jobs.end()) {
            return make_error(ErrorCode::not_found, "result of job " + run.result.key.value);
        }
        if (run.use == RunUse::verdict) {
            return put_verdict(run, name);
        }
        if (job->second.state != "running" || job->second.attempt != run.result.attempt) {
            breach("a result of " + name + " was stored while the job was " + job->second.state +
                   " with attempt " + std::to_string(job->second.attempt.value));
        }
        c_.runs.emplace(std::pair(run.result.key, run.result.attempt), run);
        if (run.result.outcome.outcome == OutcomeClass::done) {
            if (run.use == RunUse::shown) {
                c_.shown[run.result.key] = run.result.attempt;
            }
            if (!run.result.weights_digest.empty()) {
                c_.bound_models.emplace(job->second.cell.spec.model.name,
                                        run.result.weights_digest);
            }
            if (!run.result.dataset_digest.empty()) {
                c_.bound_texts.emplace(job->second.cell.spec.quality.text,
                                       run.result.dataset_digest);
            }
        }
        return {};
    }

    Status put_event(TimePoint, std::string_view kind, std::string_view json) override {
        c_.events.emplace_back(kind, json);
        return {};
    }

 private:
    Status put_verdict(const FinishedRun& verdict, const std::string& name) {
        const auto run = c_.runs.find({verdict.result.key, verdict.result.attempt});
        if (run == c_.runs.end()) {
            breach("a verdict on " + name + ", which has no result");
            return {};
        }
        auto& known = run->second.result.measurements;
        known.insert(known.end(), verdict.result.measurements.begin(),
                     verdict.result.measurements.end());
        return {};
    }
    void breach(std::string sentence) { store_.breaches_.push_back(std::move(sentence)); }

    Contents& c_;
    FakeStore& store_;
};

const StoredJob* FakeStore::job(const JobKey& key) const {
    const auto found = contents_.jobs.find(key);
    return found == contents_.jobs.end() ? nullptr : &found->second;
}

Status FakeStore::transact(const std::function<Status(StoreWriter&)>& body, WhenLocked) {
    ++transactions;
    if (fault) {
        TRY(fault());
    }
    // In place: the contents grow, and a copy of them for each transaction is slow.
    Writer writer(contents_, *this);
    if (Status written = body(writer); !written) {
        breaches_.push_back("a transaction failed of itself: " + written.error().message);
        return written;
    }
    if (after_commit) {
        after_commit();
    }
    return {};
}

Result<std::vector<StoredExperiment>> FakeStore::experiments() {
    return contents_.experiments;
}

Result<std::vector<StoredJob>> FakeStore::jobs(const ExperimentName& experiment) {
    std::vector<StoredJob> found;
    const auto& keys = experiment.empty() ? contents_.order : contents_.members[experiment];
    for (const JobKey& key : keys) {
        found.push_back(contents_.jobs.at(key));
    }
    return found;
}

Result<std::vector<std::optional<KnownJob>>> FakeStore::find(std::span<const Cell> cells) {
    std::vector<std::optional<KnownJob>> found;
    for (const Cell& cell : cells) {
        const auto same = [&](const auto& entry) {
            const CellIdentity& known = entry.second.cell.identity;
            const std::string& asked = cell.identity.weights_digest;
            const bool other_weights =
                !known.weights_digest.empty() && !asked.empty() && known.weights_digest != asked;
            return known.spec_key == cell.identity.spec_key && !other_weights;
        };
        const auto first = std::find_if(contents_.jobs.begin(), contents_.jobs.end(), same);
        auto& answer = found.emplace_back();
        if (first != contents_.jobs.end()) {
            const StoredJob& job = first->second;
            answer = KnownJob{0, job.key, job.state, job.last_outcome, job.last_message};
        }
    }
    return found;
}

// The questions that recover.cpp asks. Durations and peaks are not kept here.
Result<Table> FakeStore::query(const std::string& sql) {
    Table table;
    if (sql.find("FROM bindings") != std::string::npos) {
        const bool models = sql.find("'model'") != std::string::npos;
        for (const auto& [name, digest] : models ? contents_.bound_models : contents_.bound_texts) {
            table.rows.push_back({text_value(name), text_value(digest)});
        }
        return table;
    }
    if (sql.find("FROM sentinels") != std::string::npos) {
        return sql.find("f.key") != std::string::npos ? sentinel_rows(contents_)
                                                      : newest_rows(contents_);
    }
    if (sql.find("'$.sentinel'") != std::string::npos) {
        return tied_rows(contents_);
    }
    if (sql.find("FROM experiment_jobs") != std::string::npos) {
        for (const auto& [experiment, keys] : contents_.members) {
            for (const JobKey& key : keys) {
                table.rows.push_back({text_value(experiment.value), text_value(key.value)});
            }
        }
        return table;
    }
    if (sql.find("kind IN") != std::string::npos) {
        for (const auto& [kind, json] : contents_.events) {
            if (sql.find("'" + kind + "'") != std::string::npos) {
                auto& row = table.rows.emplace_back();
                row.push_back(text_value(kind));
                for (const char* field :
                     {"experiment", "key", "worker", "device", "card", "text"}) {
                    row.push_back(text_value(text_in(json, field)));
                }
            }
        }
        return table;
    }
    if (sql.find("FROM events") == std::string::npos) {
        return table;
    }
    std::map<std::pair<std::string, std::string>, std::int64_t> retries;
    for (const auto& [kind, json] : contents_.events) {
        if (kind == "retry") {
            ++retries[{text_in(json, "key"), text_in(json, "text")}];
        }
    }
    for (const auto& [what, count] : retries) {
        Table::Value number;
        number.kind = Table::Kind::integer;
        number.integer = count;
        table.rows.push_back({text_value(what.first), text_value(what.second), number});
    }
    return table;
}

}  // namespace bitsweep::sim
