#include "results/store/writer.h"

#include <bit>

#include "results/store/json_text.h"
#include "results/store/queries.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

// Key of the repeats of one cell: quality runs in one of them only, so it does not tell them apart.
std::string series_key(JobSpec spec) {
    spec.repeat = 0;
    spec.quality = {};
    return spec_key(spec);
}

// Key of the cells that a speed-up may compare: everything but the method is equal.
std::string setting_key(JobSpec spec) {
    spec.method = "fp16";
    spec.threshold.reset();
    return series_key(std::move(spec));
}

std::string lines(const std::vector<std::string>& texts) {
    std::string joined;
    for (const std::string& text : texts) {
        joined += (joined.empty() ? "" : "\n") + text;
    }
    return joined;
}

std::int64_t sql_attempt(Attempt attempt) {
    return static_cast<std::int64_t>(attempt.value);
}

}  // namespace

Status SqliteWriter::put_experiment(const StoredExperiment& experiment) {
    const std::string& name = experiment.name.value;
    TRY(TRY(connection_.cached(sql::put_experiment))
            ->bind_all(name, experiment.yaml, experiment.submitted.unix_ms, experiment.max_fails)
            .run());
    TRY(TRY(connection_.cached(sql::clear_tags))->bind_all(name).run());
    for (const auto& [tag, value] : experiment.tags) {
        TRY(TRY(connection_.cached(sql::put_tag))->bind_all(name, tag, value).run());
    }
    TRY(TRY(connection_.cached(sql::clear_templates))->bind_all(name).run());
    std::int64_t position = 0;
    for (const Cell& cell : experiment.templates) {
        TRY(TRY(connection_.cached(sql::put_template))
                ->bind_all(name, position++, to_json(cell.spec), cell.identity.spec_key,
                           cell.identity.weights_digest, cell.identity.dataset_digest,
                           cell.identity.numerics_revision, cell.yaml_line, cell.policy.priority,
                           cell.policy.timeout.ms, cell.policy.retries_crash,
                           cell.policy.retries_fail)
                .run());
    }
    return {};
}

Status SqliteWriter::put_job(const ExperimentName& experiment, const StoredJob& job,
                             Membership membership) {
    if (membership == Membership::former) {
        return TRY(connection_.cached(sql::unlink_job))
            ->bind_all(experiment.value, job.key.value)
            .run();
    }
    const JobSpec& spec = job.cell.spec;
    const CellIdentity& identity = job.cell.identity;
    Statement& insert = *TRY(connection_.cached(sql::put_job));
    insert.bind_all(job.key.value, spec.model.name, to_string(spec.model.weights), spec.method,
                    spec.threshold.value_or(0.0), spec.head_bits, spec.kv, spec.gpu, spec.batch,
                    spec.prompt_tokens, spec.new_tokens, to_string(spec.protocol), spec.threads,
                    std::bit_cast<std::int64_t>(spec.seed), spec.repeat, spec.quality.text,
                    to_json(spec), canonical_json(spec), series_key(spec), setting_key(spec),
                    identity.spec_key, identity.weights_digest, identity.dataset_digest,
                    identity.numerics_revision, job.state, sql_attempt(job.attempt), job.crashes,
                    job.failures, job.worker.value, job.session.value, job.device,
                    to_string(job.last_outcome), job.last_message);
    if (!spec.threshold) {
        constexpr int threshold_column = 5;
        insert.bind_null(threshold_column);
    }
    TRY(insert.run());
    const bool is_new = sqlite3_changes64(connection_.raw()) > 0;
    const JobPolicy& policy = job.cell.policy;
    TRY(TRY(connection_.cached(sql::link_job))
            ->bind_all(experiment.value, job.key.value, job.cell.yaml_line, policy.priority,
                       policy.timeout.ms, policy.retries_crash, policy.retries_fail)
            .run());
    if (is_new) {
        return {};
    }
    return TRY(connection_.cached(sql::share_policy))
        ->bind_all(job.key.value, policy.priority, policy.timeout.ms, policy.retries_crash,
                   policy.retries_fail)
        .run();
}

Status SqliteWriter::set_job(const StoredJob& job) {
    Statement& update = *TRY(connection_.cached(sql::set_job));
    update.bind_all(job.key.value, job.state, sql_attempt(job.attempt), job.crashes, job.failures,
                    job.worker.value, job.session.value, job.device, to_string(job.last_outcome),
                    job.last_message, lines(job.kinds_tried),
                    static_cast<std::int64_t>(job.outgrew_bytes));
    const bool found = TRY(update.step());
    update.reset();
    if (!found) {
        return make_error(ErrorCode::not_found, "job " + job.key.value + " is not in the database");
    }
    return {};
}

Status SqliteWriter::put_run(const FinishedRun& run) {
    const RunResult& result = run.result;
    Statement& select = *TRY(connection_.cached(sql::job_of_key));
    if (!TRY(select.bind_all(result.key.value).step())) {
        select.reset();
        return make_error(ErrorCode::not_found,
                          "result of job " + result.key.value + ", which is not in the database");
    }
    const std::int64_t job = select.integer(0);
    const bool real_weights = select.text(1) == "real";
    const std::string model = select.text(2);
    const std::string text = select.text(3);
    select.reset();

    Statement& insert = *TRY(connection_.cached(sql::put_run));
    insert.bind_all(job, sql_attempt(result.attempt), to_string(result.outcome.outcome),
                    result.outcome.message, result.outcome.evidence, run.worker.value, run.device,
                    run.device_kind, run.device_name, result.started_unix_ms,
                    result.finished_unix_ms, result.weights_digest, result.dataset_digest,
                    json_object(result.provenance), result.generated.text,
                    json_array(result.generated.prompt_ids), json_array(result.generated.new_ids));
    if (!TRY(insert.step())) {
        insert.reset();
        return {};  // this attempt is stored already: a delivery after a lost acknowledgement
    }
    const std::int64_t run_id = insert.integer(0);
    insert.reset();
    TRY(put_details(run_id, result));
    if (result.outcome.outcome != OutcomeClass::done) {
        return {};
    }
    TRY(TRY(connection_.cached(sql::show_run))
            ->bind_all(job, run_id, sql_attempt(result.attempt))
            .run());
    if (real_weights && !result.weights_digest.empty()) {
        TRY(TRY(connection_.cached(sql::bind_digest))
                ->bind_all("model", model, result.weights_digest, run_id)
                .run());
    }
    if (!result.dataset_digest.empty()) {
        TRY(TRY(connection_.cached(sql::bind_digest))
                ->bind_all("text", text, result.dataset_digest, run_id)
                .run());
    }
    return {};
}

Status SqliteWriter::put_details(std::int64_t run_id, const RunResult& result) {
    Statement& measurement = *TRY(connection_.cached(sql::put_measurement));
    for (const Measurement& m : result.measurements) {
        TRY(measurement.bind_all(run_id, m.metric, m.sample, m.unit, m.value).run());
    }
    Statement& samples = *TRY(connection_.cached(sql::put_samples));
    for (const SampleSeries& s : result.samples) {
        TRY(samples
                .bind_all(run_id, s.metric, s.unit, static_cast<std::int64_t>(s.values.size()),
                          json_array(s.values))
                .run());
    }
    return {};
}

Status SqliteWriter::put_event(TimePoint when, std::string_view kind, std::string_view json) {
    return TRY(connection_.cached(sql::put_event))->bind_all(when.unix_ms, kind, json).run();
}

}  // namespace bitsweep
