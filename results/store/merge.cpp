#include "results/store/merge.h"

#include "results/store/sqlite.h"
#include "results/store/store.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// Names that stand for other bytes on the two sides.
constexpr const char* first_conflict =
    "SELECT o.kind, o.name, b.digest, o.digest FROM other.bindings o"
    " JOIN main.bindings b ON b.kind = o.kind AND b.name = o.name AND b.digest <> o.digest LIMIT 1";

constexpr const char* add_experiments =
    "INSERT INTO main.experiments (name, yaml, submitted_unix_ms, max_fails)"
    " SELECT name, yaml, submitted_unix_ms, max_fails FROM other.experiments WHERE 1"
    " ON CONFLICT (name) DO NOTHING";
constexpr const char* add_tags =
    "INSERT INTO main.experiment_tags SELECT * FROM other.experiment_tags WHERE 1"
    " ON CONFLICT DO NOTHING";
constexpr const char* add_templates =
    "INSERT INTO main.templates SELECT * FROM other.templates WHERE 1 ON CONFLICT DO NOTHING";

// What the jobs that are new here share with each other comes along: theirs is `shared`, ours `id`.
constexpr const char* map_shared =
    "CREATE TEMP TABLE shared_map AS SELECT DISTINCT o.shared AS theirs,"
    " o.shared + (SELECT COALESCE(max(id), 0) FROM main.shared_specs) AS ours"
    " FROM other.job_specs o WHERE NOT EXISTS"
    " (SELECT 1 FROM main.job_specs m WHERE m.key = o.key)";
constexpr const char* add_shared =
    "INSERT INTO main.shared_specs SELECT m.ours, p.model, p.weights, p.method, p.threshold, "
    "p.head,"
    " p.kv, p.gpu, p.protocol, p.text, p.weights_digest, p.dataset_digest, p.numerics_revision,"
    " p.spec, p.canonical FROM shared_map m JOIN other.shared_specs p ON p.id = m.theirs";
constexpr const char* add_specs =
    "INSERT INTO main.job_specs (shared, key, batch, prompt_tokens, new_tokens, threads, seed,"
    " repeat, baseline, series, setting, spec_key) SELECT m.ours, o.key, o.batch,"
    " o.prompt_tokens, o.new_tokens, o.threads, o.seed, o.repeat, o.baseline, o.series, o.setting,"
    " o.spec_key"
    " FROM other.job_specs o JOIN shared_map m ON m.theirs = o.shared WHERE 1"
    " ORDER BY o.id ON CONFLICT (key) DO NOTHING";
constexpr const char* add_states =
    "INSERT INTO main.job_states (id, state, attempt, crashes, failures, worker, session, device,"
    " last_outcome, last_message, kinds_tried, outgrew_bytes)"
    " SELECT m.id, CASE s.state WHEN 'running' THEN 'waiting' ELSE s.state END, s.attempt,"
    " s.crashes, s.failures, '', '', '', s.last_outcome, s.last_message, '', 0"
    " FROM other.job_specs o JOIN other.job_states s ON s.id = o.id"
    " JOIN main.job_specs m ON m.key = o.key"
    " WHERE NOT EXISTS (SELECT 1 FROM main.job_states x WHERE x.id = m.id)";
constexpr const char* link_jobs =
    "INSERT INTO main.experiment_jobs (experiment, job, yaml_line, priority, timeout_ms,"
    " retries_crash, retries_fail, asked)"
    " SELECT l.experiment, m.id, l.yaml_line, l.priority, l.timeout_ms, l.retries_crash,"
    " l.retries_fail, l.asked FROM other.experiment_jobs l JOIN other.job_specs j ON j.id = l.job"
    " JOIN main.job_specs m ON m.key = j.key ORDER BY l.id"
    " ON CONFLICT (experiment, job) DO NOTHING";

constexpr const char* add_sentinels =
    "INSERT INTO main.sentinels (job, experiment, reference, card)"
    " SELECT m.id, s.experiment, f.id, s.card FROM other.sentinels s"
    " JOIN other.job_specs j ON j.id = s.job JOIN main.job_specs m ON m.key = j.key"
    " JOIN other.job_specs o ON o.id = s.reference JOIN main.job_specs f ON f.key = o.key WHERE 1"
    " ON CONFLICT (job) DO NOTHING";

// Which run of the source is which run here; `fresh`: it has to be added.
constexpr const char* map_runs =
    "CREATE TEMP TABLE run_map AS"
    " SELECT r.id AS theirs, m.id AS job, r.attempt AS attempt,"
    "  (SELECT x.id FROM main.runs x WHERE x.job = m.id AND x.started_unix_ms = r.started_unix_ms"
    "   AND x.finished_unix_ms = r.finished_unix_ms AND x.worker = r.worker"
    "   AND x.device_name = r.device_name) AS ours,"
    "  EXISTS (SELECT 1 FROM main.runs x WHERE x.job = m.id) AS second"
    " FROM other.runs r JOIN other.job_specs j ON j.id = r.job"
    " JOIN main.job_specs m ON m.key = j.key";
// An attempt whose number is taken goes behind the newest.
constexpr const char* renumber =
    "UPDATE run_map SET attempt = attempt + (SELECT max(attempt) FROM main.runs x"
    " WHERE x.job = run_map.job) WHERE ours IS NULL AND second";
constexpr const char* add_runs =
    "INSERT INTO main.runs (job, attempt, outcome, message, evidence, worker, device, device_kind,"
    " device_name, started_unix_ms, finished_unix_ms, weights_digest, dataset_digest, provenance,"
    " generated_text, prompt_ids, new_ids)"
    " SELECT m.job, m.attempt, r.outcome, r.message, r.evidence, r.worker, r.device, r.device_kind,"
    " r.device_name, r.started_unix_ms, r.finished_unix_ms, r.weights_digest, r.dataset_digest,"
    " r.provenance, r.generated_text, r.prompt_ids, r.new_ids"
    " FROM run_map m JOIN other.runs r ON r.id = m.theirs WHERE m.ours IS NULL ORDER BY r.id";
constexpr const char* add_measurements =
    "INSERT INTO main.measurements (run, metric, sample, unit, value)"
    " SELECT x.id, s.metric, s.sample, s.unit, s.value FROM run_map m"
    " JOIN main.runs x ON x.job = m.job AND x.attempt = m.attempt"
    " JOIN other.measurements s ON s.run = m.theirs WHERE m.ours IS NULL";
constexpr const char* add_samples =
    "INSERT INTO main.samples (run, metric, unit, count, \"values\")"
    " SELECT x.id, s.metric, s.unit, s.count, s.\"values\" FROM run_map m"
    " JOIN main.runs x ON x.job = m.job AND x.attempt = m.attempt"
    " JOIN other.samples s ON s.run = m.theirs WHERE m.ours IS NULL";
// The newest success by the clock whose window counts is shown, whichever side it came from.
std::string show_newest() {
    return "UPDATE main.job_states SET result = (SELECT r.id FROM main.runs r"
           " WHERE r.job = job_states.id AND r.outcome = 'done' ORDER BY " +
           is_flagged_sql("r.id") +
           ", r.finished_unix_ms DESC, r.attempt DESC LIMIT 1),"
           " attempt = max(attempt, (SELECT max(r.attempt) FROM main.runs r"
           "  WHERE r.job = job_states.id))"
           " WHERE id IN (SELECT job FROM run_map)";
}
std::string say_what_is_shown() {
    return "UPDATE main.job_states SET shown = CASE WHEN result IS NULL THEN 'nothing' WHEN " +
           is_flagged_sql("job_states.result") +
           " THEN 'flagged' ELSE 'valid' END WHERE id IN (SELECT job FROM run_map)";
}
// How often a cell was measured again is a count of each side's own: the larger one, so that a
// second time changes nothing.
constexpr const char* keep_windows_again =
    "UPDATE main.job_states SET windows_again = max(windows_again,"
    " (SELECT s.windows_again FROM main.job_specs m JOIN other.job_specs o ON o.key = m.key"
    "  JOIN other.job_states s ON s.id = o.id WHERE m.id = job_states.id))"
    " WHERE id IN (SELECT job FROM run_map)";
constexpr const char* close_jobs =
    "UPDATE main.job_states SET state = 'done', last_outcome = 'done', last_message = ''"
    " WHERE result IS NOT NULL AND state <> 'done' AND id IN (SELECT job FROM run_map)";

constexpr const char* add_bindings =
    "INSERT INTO main.bindings (kind, name, digest, run)"
    " SELECT b.kind, b.name, b.digest, x.id FROM other.bindings b JOIN run_map m ON m.theirs = "
    "b.run"
    " JOIN main.runs x ON x.id = m.ours OR (m.ours IS NULL AND x.job = m.job"
    "  AND x.attempt = m.attempt) WHERE 1 ON CONFLICT (kind, name) DO NOTHING";

constexpr const char* add_external =
    "INSERT INTO main.external_sources (digest, file, format, imported_unix_ms)"
    " SELECT digest, file, format, imported_unix_ms FROM other.external_sources WHERE 1"
    " ON CONFLICT (digest) DO NOTHING";
constexpr const char* add_external_runs =
    "INSERT INTO main.external_runs (source, position, tool, model, parameters, method,"
    " weight_bits, threshold, gpu, host, batch, prompt_tokens, new_tokens, measured, reference,"
    " note) SELECT s.id, r.position, r.tool, r.model, r.parameters, r.method, r.weight_bits,"
    " r.threshold, r.gpu, r.host, r.batch, r.prompt_tokens, r.new_tokens, r.measured, r.reference,"
    " r.note FROM other.external_runs r JOIN other.external_sources o ON o.id = r.source"
    " JOIN main.external_sources s ON s.digest = o.digest WHERE 1"
    " ON CONFLICT (source, position) DO NOTHING";
constexpr const char* add_external_measurements =
    "INSERT INTO main.external_measurements (run, metric, unit, value, samples)"
    " SELECT x.id, e.metric, e.unit, e.value, e.samples FROM other.external_measurements e"
    " JOIN other.external_runs r ON r.id = e.run JOIN other.external_sources o ON o.id = r.source"
    " JOIN main.external_sources s ON s.digest = o.digest"
    " JOIN main.external_runs x ON x.source = s.id AND x.position = r.position WHERE 1"
    " ON CONFLICT (run, metric) DO NOTHING";

Result<std::int64_t> rows_of(Connection& connection, const char* sql) {
    TRY(connection.exec(sql));
    return sqlite3_changes64(connection.raw());
}

Status check_bindings(Connection& connection) {
    Statement rows = TRY(connection.prepare(first_conflict));
    if (!TRY(rows.step())) {
        return {};
    }
    return make_error(
        ErrorCode::refused,
        "the " + rows.text(0) + " `" + rows.text(1) + "` is other bytes there (here " +
            rows.text(2).substr(0, 12) + ", there " + rows.text(3).substr(0, 12) +
            "): numbers under that name are not comparable; nothing of it was merged");
}

Result<Merged> copy_everything(Connection& connection) {
    TRY(check_bindings(connection));
    Merged merged;
    merged.experiments = TRY(rows_of(connection, add_experiments));
    TRY(connection.exec(add_tags));
    TRY(connection.exec(add_templates));
    TRY(connection.exec(map_shared));
    TRY(connection.exec(add_shared));
    merged.jobs = TRY(rows_of(connection, add_specs));
    TRY(connection.exec(add_states));
    TRY(connection.exec(link_jobs));
    TRY(connection.exec(add_sentinels));
    TRY(connection.exec(map_runs));
    merged.known_runs =
        TRY(connection.integer("SELECT count(*) FROM run_map WHERE ours IS NOT NULL"));
    merged.second_runs = TRY(rows_of(connection, renumber));
    merged.runs = TRY(rows_of(connection, add_runs));
    for (const std::string& sql :
         {std::string(add_measurements), std::string(add_samples), show_newest(),
          say_what_is_shown(), std::string(keep_windows_again), std::string(close_jobs),
          std::string(add_bindings)}) {
        TRY(connection.exec(sql.c_str()));
    }
    merged.external_files = TRY(rows_of(connection, add_external));
    TRY(connection.exec(add_external_runs));
    TRY(connection.exec(add_external_measurements));
    TRY(connection.exec("DROP TABLE run_map; DROP TABLE shared_map"));
    return merged;
}

}  // namespace

Status check_source(const fs::path& target, const fs::path& source) {
    // Says what is wrong with the source in its own words; the newest schema on both sides.
    TRY(Store::open(source, OpenMode::read_only));
    std::error_code ignored;
    if (fs::equivalent(target, source, ignored)) {
        return make_error(ErrorCode::invalid_input,
                          source.string() + ": merged with itself; give another --db");
    }
    return {};
}

Result<Merged> merge_database(const fs::path& target, const fs::path& source) {
    TRY(check_source(target, source));
    const auto owner = TRY(Store::open(target, OpenMode::read_write));
    Connection connection = TRY(Connection::open(target, SQLITE_OPEN_READWRITE));
    TRY(TRY(connection.prepare("ATTACH ?1 AS other")).bind(1, source.string()).run());
    TRY(connection.exec("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; BEGIN IMMEDIATE"));
    Result<Merged> merged = copy_everything(connection);
    if (!merged) {
        if (connection.in_transaction()) {
            TRY(connection.exec("ROLLBACK"));
        }
        return make_error(merged.error().code, source.string() + ": " + merged.error().message);
    }
    TRY(connection.exec("COMMIT"));
    return merged;
}

}  // namespace bitsweep
