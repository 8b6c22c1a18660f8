// Every SQL statement of the store, by name. Values travel as parameters, never in the text.
#pragma once

#include <string_view>

namespace bitsweep::sql {

// Once per connection. FULL: a commit has reached the disk when it returns. 2 s: longer than any
// reader's checkpoint block, shorter than a heartbeat's patience.
inline constexpr const char* settings =
    "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000;";

inline constexpr std::string_view put_experiment =
    "INSERT INTO experiments (name, yaml, submitted_unix_ms, max_fails) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (name) DO UPDATE SET yaml = ?2, submitted_unix_ms = ?3, max_fails = ?4";
inline constexpr std::string_view clear_tags = "DELETE FROM experiment_tags WHERE experiment = ?1";
inline constexpr std::string_view put_tag =
    "INSERT INTO experiment_tags (experiment, tag, value) VALUES (?1, ?2, ?3)";
inline constexpr std::string_view clear_templates = "DELETE FROM templates WHERE experiment = ?1";
inline constexpr std::string_view put_template =
    "INSERT INTO templates (experiment, position, spec, spec_key, weights_digest, dataset_digest,"
    " numerics_revision, yaml_line, priority, timeout_ms, retries_crash, retries_fail)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

inline constexpr std::string_view put_job =
    "INSERT INTO jobs (key, model, weights, method, threshold, head, kv, gpu, batch,"
    " prompt_tokens, new_tokens, protocol, threads, seed, repeat, text, spec, canonical, series,"
    " setting, spec_key, weights_digest, dataset_digest, numerics_revision, state, attempt,"
    " crashes, failures, worker, session, device, last_outcome, last_message)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
    " ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)"
    " ON CONFLICT (key) DO NOTHING";
inline constexpr std::string_view link_job =
    "INSERT INTO experiment_jobs (experiment, job, yaml_line, priority, timeout_ms, retries_crash,"
    " retries_fail) SELECT ?1, id, ?3, ?4, ?5, ?6, ?7 FROM jobs WHERE key = ?2"
    " ON CONFLICT (experiment, job) DO UPDATE SET yaml_line = ?3, priority = ?4,"
    " timeout_ms = ?5, retries_crash = ?6, retries_fail = ?7, asked = 1";
// A job has one policy, whichever of its experiments a restart reads it through.
inline constexpr std::string_view share_policy =
    "UPDATE experiment_jobs SET priority = ?2, timeout_ms = ?3, retries_crash = ?4,"
    " retries_fail = ?5 WHERE job = (SELECT id FROM jobs WHERE key = ?1)"
    " AND (priority, timeout_ms, retries_crash, retries_fail) IS NOT (?2, ?3, ?4, ?5)";
inline constexpr std::string_view unlink_job =
    "UPDATE experiment_jobs SET asked = 0"
    " WHERE experiment = ?1 AND job = (SELECT id FROM jobs WHERE key = ?2)";
inline constexpr std::string_view set_job =
    "UPDATE jobs SET state = ?2, attempt = ?3, crashes = ?4, failures = ?5, worker = ?6,"
    " session = ?7, device = ?8, last_outcome = ?9, last_message = ?10,"
    " kinds_tried = ?11, outgrew_bytes = ?12 WHERE key = ?1 RETURNING id";

inline constexpr std::string_view job_of_key =
    "SELECT id, weights, model, text FROM jobs WHERE key = ?1";
inline constexpr std::string_view put_run =
    "INSERT INTO runs (job, attempt, outcome, message, evidence, worker, device, device_kind,"
    " device_name, started_unix_ms, finished_unix_ms, weights_digest, dataset_digest, provenance,"
    " generated_text, prompt_ids, new_ids)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    " ON CONFLICT (job, attempt) DO NOTHING RETURNING id";
// A runner that says the same thing twice must not block its own result: the first one counts.
inline constexpr std::string_view put_measurement =
    "INSERT INTO measurements (run, metric, sample, unit, value) VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (run, metric, sample) DO NOTHING";
inline constexpr std::string_view put_samples =
    "INSERT INTO samples (run, metric, unit, count, \"values\") VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (run, metric) DO NOTHING";
// Only a newer attempt replaces the shown result.
inline constexpr std::string_view show_run =
    "UPDATE jobs SET result = ?2 WHERE id = ?1 AND (result IS NULL OR ?3 >"
    " (SELECT attempt FROM runs WHERE id = jobs.result))";
inline constexpr std::string_view bind_digest =
    "INSERT INTO bindings (kind, name, digest, run) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (kind, name) DO NOTHING";
inline constexpr std::string_view put_event =
    "INSERT INTO events (unix_ms, kind, json) VALUES (?1, ?2, ?3)";

inline constexpr std::string_view experiments =
    "SELECT name, yaml, submitted_unix_ms, max_fails FROM experiments ORDER BY submitted_unix_ms, "
    "name";
inline constexpr std::string_view tags_of =
    "SELECT tag, value FROM experiment_tags WHERE experiment = ?1";
// Columns 0-9 of a cell: the order that cell_of_row() reads.
#define BITSWEEP_CELL_COLUMNS(row, link)                                                        \
    row ".spec, " row ".spec_key, " row ".weights_digest, " row ".dataset_digest, " row         \
        ".numerics_revision, " link ".yaml_line, " link ".priority, " link ".timeout_ms, " link \
        ".retries_crash, " link ".retries_fail"
#define BITSWEEP_JOB_COLUMNS                                                             \
    BITSWEEP_CELL_COLUMNS("j", "l")                                                      \
    ", j.key, j.state, j.attempt, j.crashes, j.failures, j.worker, j.session, j.device," \
    " j.last_outcome, j.last_message, j.kinds_tried, j.outgrew_bytes"
inline constexpr std::string_view templates_of = "SELECT " BITSWEEP_CELL_COLUMNS(
    "t", "t") " FROM templates t WHERE experiment = ?1 ORDER BY position";
inline constexpr std::string_view jobs_of =
    "SELECT " BITSWEEP_JOB_COLUMNS
    " FROM experiment_jobs l JOIN jobs j ON j.id = l.job WHERE l.experiment = ?1 ORDER BY l.id";
// Every job once, with the policy of the experiment that asked first.
inline constexpr std::string_view all_jobs =
    "SELECT " BITSWEEP_JOB_COLUMNS
    " FROM jobs j JOIN experiment_jobs l ON l.id ="
    " (SELECT MIN(id) FROM experiment_jobs WHERE job = j.id) ORDER BY l.id";
// What find() compares: spec key, id, revision, the digests that the job or its result knows,
// weights, whether it has a result; then what it tells: key, state, last outcome and message. The
// runs are looked at only where the job does not know.
#define BITSWEEP_KNOWN_JOBS                                                                   \
    "SELECT spec_key, id, numerics_revision, COALESCE(NULLIF(weights_digest, ''),"            \
    " (SELECT weights_digest FROM runs WHERE id = result), ''),"                              \
    " COALESCE(NULLIF(dataset_digest, ''), (SELECT dataset_digest FROM runs WHERE id ="       \
    " result), ''), weights, result IS NOT NULL, key, state, last_outcome, last_message FROM" \
    " jobs"
inline constexpr std::string_view known_jobs = BITSWEEP_KNOWN_JOBS;
inline constexpr std::string_view known_jobs_of_key = BITSWEEP_KNOWN_JOBS " WHERE spec_key = ?1";
inline constexpr std::string_view bindings_of = "SELECT name, digest FROM bindings WHERE kind = ?1";

}  // namespace bitsweep::sql
