#include "results/store/writer.h"

#include <algorithm>
#include <iterator>

#include "results/store/json_text.h"
#include "results/store/queries.h"
#include "schemas/catalog/baseline.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

std::string lines(const std::vector<std::string>& texts) {
    std::string joined;
    for (const std::string& text : texts) {
        joined += (joined.empty() ? "" : "\n") + text;
    }
    return joined;
}

// The words that the schema's CHECK constraints allow, which this connection is not asked about
// (queries.h: writer_settings).
Status check_words(const StoredState& job) {
    const auto is_one_of = [](std::string_view word, const auto& known) {
        return std::find(std::begin(known), std::end(known), word) != std::end(known);
    };
    constexpr std::string_view states[] = {"waiting", "running", "done", "failed", "cancelled"};
    constexpr std::string_view shown[] = {"nothing", "flagged", "valid"};
    if (is_one_of(job.state, states) && is_one_of(job.shown, shown)) {
        return {};
    }
    return make_error(ErrorCode::internal, "job " + job.key.value + " cannot be stored as `" +
                                               job.state + "`, `" + job.shown + "`");
}

// As fresh_jobs.h writes it. The bindings name every member: a new one does not compile before it
// is looked at here.
bool is_fresh(const StoredState& job) {
    const auto& [key, state, attempt, crashes, failures, worker, session, device, outcome, message,
                 kinds, outgrew, windows, shown] = job;
    (void)key;
    return state == "waiting" && attempt.value == 0 && crashes == 0 && failures == 0 &&
           worker.value.empty() && session.value.empty() && device.empty() &&
           outcome == OutcomeClass::done && message.empty() && kinds.empty() && outgrew == 0 &&
           windows == 0 && shown == "nothing";
}

std::int64_t sql_attempt(Attempt attempt) {
    return static_cast<std::int64_t>(attempt.value);
}

}  // namespace

Status SqliteWriter::put_experiment(const StoredExperiment& experiment) {
    const std::string& name = experiment.name.value;
    TRY(connection_.exec(sql::large_cache));
    grown_ = true;
    TRY(TRY(connection_.cached(sql::put_experiment))
            ->execute(name, experiment.yaml, experiment.submitted.unix_ms, experiment.max_fails));
    TRY(TRY(connection_.cached(sql::clear_tags))->execute(name));
    for (const auto& [tag, value] : experiment.tags) {
        TRY(TRY(connection_.cached(sql::put_tag))->execute(name, tag, value));
    }
    TRY(TRY(connection_.cached(sql::clear_templates))->execute(name));
    std::int64_t position = 0;
    for (const Cell& cell : experiment.templates) {
        TRY(TRY(connection_.cached(sql::put_template))
                ->execute(name, position++, to_json(cell.spec), cell.identity.spec_key,
                          cell.identity.weights_digest, cell.identity.dataset_digest,
                          cell.identity.numerics_revision, cell.yaml_line, cell.policy.priority,
                          cell.policy.timeout.ms, cell.policy.retries_crash,
                          cell.policy.retries_fail, cell.card_condition.value_or("")));
    }
    return {};
}

Status SqliteWriter::describe(const JobView& job, Membership membership, FreshJob& fresh) {
    const JobSpec& spec = job.cell.spec;
    const CellIdentity& identity = job.cell.identity;
    if (forms_ == nullptr) {
        forms_ = std::make_unique<Forms>();
    }
    const StoredKeys& keys = forms_->keys.of(spec, identity.spec_key);
    fresh.shared = TRY(forms_->shared.row_of(connection_, job.cell, keys, forms_->keys));
    if (last_row_ < 0) {
        last_row_ = TRY(connection_.integer(sql::last_job));
    }
    fresh.row = ++last_row_;
    fresh.key = job.state.key.value;
    fresh.batch = spec.batch;
    fresh.prompt_tokens = spec.prompt_tokens;
    fresh.new_tokens = spec.new_tokens;
    fresh.threads = spec.threads;
    fresh.seed = spec.seed;
    fresh.repeat = spec.repeat;
    fresh.baseline = is_baseline(spec.method);
    // A sentinel stands beside no cell: it shares neither series nor setting with one.
    const bool sentinel = membership == Membership::sentinel;
    fresh.series = sentinel ? job.state.key.value : keys.series;
    fresh.setting = sentinel ? job.state.key.value : keys.setting;
    fresh.spec_key = identity.spec_key;
    rows_.add(fresh.key, fresh.row);
    grown_ = true;
    return indexes_.added(connection_, fresh.row);
}

Status SqliteWriter::add_member(const ExperimentName& experiment, const JobView& job) {
    FreshMember& fresh = *TRY(fresh_.next(connection_));
    TRY(describe(job, Membership::asked, fresh));
    fresh.experiment = experiment.value;
    fresh.yaml_line = job.cell.yaml_line;
    fresh.policy = job.cell.policy;
    return is_fresh(job.state) ? Status{} : set_job(job.state);
}

Status SqliteWriter::put_sentinel(const ExperimentName& experiment, const JobView& job,
                                  bool is_new) {
    if (is_new) {
        FreshJob fresh;
        TRY(describe(job, Membership::sentinel, fresh));
        TRY(write_fresh(connection_, fresh));
        if (!is_fresh(job.state)) {
            TRY(set_job(job.state));
        }
    }
    const auto row = TRY(rows_.find(connection_, job.state.key.value));
    const auto reference = TRY(rows_.find(connection_, job.reference));
    if (!reference) {
        return make_error(ErrorCode::not_found, "a sentinel of job " + std::string(job.reference) +
                                                    ", which is not in the database");
    }
    return TRY(connection_.cached(sql::put_sentinel))
        ->execute(*row, experiment.value, *reference, job.card);
}

Status SqliteWriter::check_experiment(const ExperimentName& experiment) {
    if (experiment == known_) {
        return {};
    }
    Statement& select = *TRY(connection_.cached(sql::has_experiment));
    const bool found = TRY(select.bind_all(experiment.value).step());
    select.reset();
    if (!found) {
        return make_error(ErrorCode::not_found, "a job of experiment " + experiment.value +
                                                    ", which is not in the database");
    }
    known_ = experiment;
    return {};
}

Status SqliteWriter::put_job(const ExperimentName& experiment, const JobView& job,
                             Membership membership) {
    TRY(check_experiment(experiment));
    const std::optional<std::int64_t> row = TRY(rows_.find(connection_, job.state.key.value));
    if (!row && membership == Membership::asked) {
        return add_member(experiment, job);
    }
    TRY(fresh_.write(connection_));
    if (membership == Membership::former) {
        return row ? TRY(connection_.cached(sql::unlink_job))->execute(experiment.value, *row)
                   : Status{};
    }
    if (membership == Membership::sentinel) {
        return put_sentinel(experiment, job, !row);
    }
    const JobPolicy& policy = job.cell.policy;
    TRY(TRY(connection_.cached(sql::link_job))
            ->execute(experiment.value, *row, job.cell.yaml_line, policy.priority,
                      policy.timeout.ms, policy.retries_crash, policy.retries_fail));
    return TRY(connection_.cached(sql::share_policy))
        ->execute(*row, policy.priority, policy.timeout.ms, policy.retries_crash,
                  policy.retries_fail);
}

Status SqliteWriter::set_job(const StoredState& job) {
    TRY(check_words(job));
    TRY(fresh_.write(connection_));
    const std::optional<std::int64_t> row = TRY(rows_.find(connection_, job.key.value));
    if (!row) {
        return make_error(ErrorCode::not_found, "job " + job.key.value + " is not in the database");
    }
    if (shown_ && shown_->row != *row) {
        TRY(show_pending());
    }
    const auto write = [&](std::string_view sql, const auto&... more) -> Status {
        return TRY(connection_.cached(sql))
            ->execute(*row, job.state, sql_attempt(job.attempt), job.crashes, job.failures,
                      job.worker.value, job.session.value, job.device, to_string(job.last_outcome),
                      job.last_message, lines(job.kinds_tried),
                      static_cast<std::int64_t>(job.outgrew_bytes), job.windows_again, job.shown,
                      more...);
    };
    if (!shown_) {
        return write(sql::set_state);
    }
    const Shown shown = *shown_;
    shown_.reset();
    return write(sql::set_state_and_show, shown.run, shown.attempt);
}

Status SqliteWriter::finish() {
    TRY(fresh_.write(connection_));
    TRY(show_pending());
    return indexes_.build(connection_);
}

void SqliteWriter::shrink() {
    if (grown_) {
        (void)connection_.exec(sql::usual_cache);  // it stays large, then
        sqlite3_db_release_memory(connection_.raw());
    }
}

Status SqliteWriter::show_pending() {
    if (!shown_) {
        return {};
    }
    const Shown shown = *shown_;
    shown_.reset();
    return TRY(connection_.cached(sql::show_run))->execute(shown.row, shown.run, shown.attempt);
}

Status SqliteWriter::put_run(const FinishedRun& run) {
    TRY(fresh_.write(connection_));
    const RunResult& result = run.result;
    const std::optional<std::int64_t> row = TRY(rows_.find(connection_, result.key.value));
    if (!row) {
        return make_error(ErrorCode::not_found,
                          "result of job " + result.key.value + ", which is not in the database");
    }
    if (run.use == RunUse::verdict) {
        return put_verdict(*row, result);
    }
    Statement& insert = *TRY(connection_.cached(sql::put_run));
    TRY(insert.execute(*row, sql_attempt(result.attempt), to_string(result.outcome.outcome),
                       result.outcome.message, result.outcome.evidence, run.worker.value,
                       run.device, run.device_kind, run.device_name, result.started_unix_ms,
                       result.finished_unix_ms, result.weights_digest, result.dataset_digest,
                       json_object(result.provenance), result.generated.text,
                       json_array(result.generated.prompt_ids),
                       json_array(result.generated.new_ids)));
    if (sqlite3_changes64(connection_.raw()) == 0) {
        return {};  // this attempt is stored already: a delivery after a lost acknowledgement
    }
    const std::int64_t run_id = connection_.last_rowid();
    TRY(put_details(run_id, result));
    if (result.outcome.outcome != OutcomeClass::done) {
        return {};
    }
    TRY(show_pending());
    if (run.use == RunUse::shown) {
        shown_ = Shown{*row, run_id, sql_attempt(result.attempt)};
    }
    return bind_digests(*row, run_id, result);
}

Status SqliteWriter::bind_digests(std::int64_t row, std::int64_t run_id, const RunResult& result) {
    if (result.weights_digest.empty() && result.dataset_digest.empty()) {
        return {};
    }
    Statement& select = *TRY(connection_.cached(sql::names_of));
    TRY(select.bind_all(row).step());
    const bool real_weights = select.view(0) == "real";
    const std::string model = select.text(1);
    const std::string text = select.text(2);
    select.reset();
    if (real_weights && !result.weights_digest.empty()) {
        TRY(TRY(connection_.cached(sql::bind_digest))
                ->execute("model", model, result.weights_digest, run_id));
    }
    if (!result.dataset_digest.empty()) {
        TRY(TRY(connection_.cached(sql::bind_digest))
                ->execute("text", text, result.dataset_digest, run_id));
    }
    return {};
}

Status SqliteWriter::put_verdict(std::int64_t row, const RunResult& result) {
    Statement& select = *TRY(connection_.cached(sql::run_of));
    const bool found = TRY(select.bind_all(row, sql_attempt(result.attempt)).step());
    const std::int64_t run_id = found ? select.integer(0) : 0;
    select.reset();
    if (!found) {
        return make_error(ErrorCode::not_found,
                          "a verdict on attempt " + std::to_string(result.attempt.value) +
                              " of job " + result.key.value + ", which is not in the database");
    }
    return put_details(run_id, result);
}

Status SqliteWriter::put_details(std::int64_t run_id, const RunResult& result) {
    Statement& measurement = *TRY(connection_.cached(sql::put_measurement));
    for (const Measurement& m : result.measurements) {
        TRY(measurement.execute(run_id, m.metric, m.sample, m.unit, m.value));
    }
    Statement& samples = *TRY(connection_.cached(sql::put_samples));
    for (const SampleSeries& s : result.samples) {
        TRY(samples.execute(run_id, s.metric, s.unit, static_cast<std::int64_t>(s.values.size()),
                            json_array(s.values)));
    }
    return {};
}

Status SqliteWriter::put_event(TimePoint when, std::string_view kind, std::string_view json) {
    TRY(TRY(connection_.cached(sql::put_event))->execute(when.unix_ms, kind, json));
    if (sqlite3_changes64(connection_.raw()) == 0) {
        return make_error(ErrorCode::internal, "an event that is no JSON: " + std::string(json));
    }
    return {};
}

}  // namespace bitsweep
