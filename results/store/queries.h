// Every SQL statement of the store, by name. Values travel as parameters, never in the text.
#pragma once

#include <string_view>

namespace bitsweep::sql {

// Has an effect on a file that has no table yet. Pages of 8 KiB instead of SQLite's 4: 100,000 new
// jobs take 14 % less, other transactions the same; 16 KiB gain nothing (tests/bench/README.md).
inline constexpr const char* new_file = "PRAGMA page_size = 8192";

// Once per connection of a writer. The log is folded into the file every 64 MiB, not every 4: a
// page that changed often meanwhile is written once.
// CHECK constraints are for other programs: here the words are checked in writer.cpp and the JSON
// of results comes from our own writer. A list of five words is a table that SQLite builds for
// every row, 4 of the 5 us that the row of a job's state took. `PRAGMA integrity_check` judges by
// them (tests/end_to_end). Foreign keys are for other programs, too: every row that the writer
// refers to is one that it has just written or looked up, and SQLite would look it up once more at
// each insert, a sixth of what a job costs the store. `PRAGMA foreign_key_check` judges by them.
inline constexpr const char* writer_settings =
    "PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
    "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;";
// The indexes of 200,000 new jobs are filled in no order, and have 48 MiB.
inline constexpr const char* large_cache = "PRAGMA cache_size = -65536";
// 100,000 new jobs change 48 MiB of pages; what is written out before the commit may be written
// again.
inline constexpr const char* huge_cache = "PRAGMA cache_size = -262144";
// What bulk_indexes.h drops and makes again.
inline constexpr std::string_view spec_indexes =
    "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'job_specs'"
    " AND sql IS NOT NULL ORDER BY name";
inline constexpr const char* usual_cache = "PRAGMA cache_size = -16384";

// Once per connection. FULL: a commit has reached the disk when it returns. 2 s: longer than any
// reader's checkpoint block, shorter than a heartbeat's patience.
inline constexpr const char* settings =
    "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000;";

inline constexpr std::string_view begin = "BEGIN IMMEDIATE";
inline constexpr std::string_view commit = "COMMIT";

inline constexpr std::string_view put_experiment =
    "INSERT INTO experiments (name, yaml, submitted_unix_ms, max_fails) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (name) DO UPDATE SET yaml = ?2, submitted_unix_ms = ?3, max_fails = ?4";
inline constexpr std::string_view has_experiment = "SELECT 1 FROM experiments WHERE name = ?1";
inline constexpr std::string_view clear_tags = "DELETE FROM experiment_tags WHERE experiment = ?1";
inline constexpr std::string_view put_tag =
    "INSERT INTO experiment_tags (experiment, tag, value) VALUES (?1, ?2, ?3)";
inline constexpr std::string_view clear_templates = "DELETE FROM templates WHERE experiment = ?1";
inline constexpr std::string_view put_template =
    "INSERT INTO templates (experiment, position, spec, spec_key, weights_digest, dataset_digest,"
    " numerics_revision, yaml_line, priority, timeout_ms, retries_crash, retries_fail,"
    " card_condition) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

inline constexpr std::string_view put_shared =
    "INSERT INTO shared_specs (model, weights, method, threshold, head, kv, gpu, protocol, text,"
    " weights_digest, dataset_digest, numerics_revision, spec, canonical)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
// Of fresh_jobs.h: one row, and sixteen.
#define BITSWEEP_FOUR(row) row "," row "," row "," row
#define BITSWEEP_SIXTEEN(row) \
    BITSWEEP_FOUR(row) "," BITSWEEP_FOUR(row) "," BITSWEEP_FOUR(row) "," BITSWEEP_FOUR(row)
#define BITSWEEP_FRESH(one, many, insert, row)          \
    inline constexpr std::string_view one = insert row; \
    inline constexpr std::string_view many = insert BITSWEEP_SIXTEEN(row)
BITSWEEP_FRESH(put_fresh_spec, put_fresh_specs,
               "INSERT INTO job_specs (id, shared, key, batch, prompt_tokens, new_tokens, threads,"
               " seed, repeat, baseline, series, setting, spec_key) VALUES ",
               "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
BITSWEEP_FRESH(put_fresh_state, put_fresh_states,
               "INSERT INTO job_states (id, state, attempt, crashes, failures, worker, session,"
               " device, last_outcome, last_message, kinds_tried, outgrew_bytes) VALUES ",
               "(?, 'waiting', 0, 0, 0, '', '', '', 'done', '', '', 0)");
BITSWEEP_FRESH(put_fresh_link, put_fresh_links,
               "INSERT INTO experiment_jobs (experiment, job, yaml_line, priority, timeout_ms,"
               " retries_crash, retries_fail) VALUES ",
               "(?, ?, ?, ?, ?, ?, ?)");
inline constexpr std::string_view last_job = "SELECT max(id) FROM job_specs";
inline constexpr std::string_view link_job =
    "INSERT INTO experiment_jobs (experiment, job, yaml_line, priority, timeout_ms, retries_crash,"
    " retries_fail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    " ON CONFLICT (experiment, job) DO UPDATE SET yaml_line = ?3, priority = ?4,"
    " timeout_ms = ?5, retries_crash = ?6, retries_fail = ?7, asked = 1";
// A job has one policy, whichever of its experiments a restart reads it through.
inline constexpr std::string_view share_policy =
    "UPDATE experiment_jobs SET priority = ?2, timeout_ms = ?3, retries_crash = ?4,"
    " retries_fail = ?5 WHERE job = ?1"
    " AND (priority, timeout_ms, retries_crash, retries_fail) IS NOT (?2, ?3, ?4, ?5)";
inline constexpr std::string_view unlink_job =
    "UPDATE experiment_jobs SET asked = 0 WHERE experiment = ?1 AND job = ?2";
inline constexpr std::string_view put_sentinel =
    "INSERT INTO sentinels (job, experiment, reference, card) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (job) DO NOTHING";
#define BITSWEEP_SET_STATE                                                                      \
    "UPDATE job_states SET state = ?2, attempt = ?3, crashes = ?4, failures = ?5, worker = ?6," \
    " session = ?7, device = ?8, last_outcome = ?9, last_message = ?10, kinds_tried = ?11,"     \
    " outgrew_bytes = ?12, windows_again = ?13, shown = ?14"
inline constexpr std::string_view set_state = BITSWEEP_SET_STATE " WHERE id = ?1";
// ?15: the run to show where its attempt, ?16, is newer than that of the run that is shown.
inline constexpr std::string_view set_state_and_show = BITSWEEP_SET_STATE
    ", result = CASE WHEN result IS NULL OR ?16 > (SELECT r.attempt FROM runs r WHERE r.id ="
    " result) THEN ?15 ELSE result END WHERE id = ?1";

inline constexpr std::string_view row_of_key = "SELECT id FROM job_specs WHERE key = ?1";
inline constexpr std::string_view names_of =
    "SELECT p.weights, p.model, p.text FROM job_specs c JOIN shared_specs p ON p.id = c.shared"
    " WHERE c.id = ?1";
inline constexpr std::string_view put_run =
    "INSERT INTO runs (job, attempt, outcome, message, evidence, worker, device, device_kind,"
    " device_name, started_unix_ms, finished_unix_ms, weights_digest, dataset_digest, provenance,"
    " generated_text, prompt_ids, new_ids)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    " ON CONFLICT (job, attempt) DO NOTHING";
inline constexpr std::string_view run_of = "SELECT id FROM runs WHERE job = ?1 AND attempt = ?2";
// A runner that says the same thing twice must not block its own result: the first one counts.
inline constexpr std::string_view put_measurement =
    "INSERT INTO measurements (run, metric, sample, unit, value) VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (run, metric, sample) DO NOTHING";
inline constexpr std::string_view put_samples =
    "INSERT INTO samples (run, metric, unit, count, \"values\") VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (run, metric) DO NOTHING";
// Only a newer attempt replaces the shown result.
inline constexpr std::string_view show_run =
    "UPDATE job_states SET result = ?2 WHERE id = ?1 AND (result IS NULL OR ?3 >"
    " (SELECT attempt FROM runs WHERE id = job_states.result))";
inline constexpr std::string_view bind_digest =
    "INSERT INTO bindings (kind, name, digest, run) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (kind, name) DO NOTHING";
inline constexpr std::string_view put_event =
    "INSERT INTO events (unix_ms, kind, json) SELECT ?1, ?2, ?3 WHERE json_valid(?3)";

inline constexpr std::string_view experiments =
    "SELECT name, yaml, submitted_unix_ms, max_fails FROM experiments ORDER BY submitted_unix_ms, "
    "name";
inline constexpr std::string_view tags_of =
    "SELECT tag, value FROM experiment_tags WHERE experiment = ?1";
inline constexpr std::string_view templates_of =
    "SELECT spec, spec_key, weights_digest, dataset_digest, numerics_revision, yaml_line, priority,"
    " timeout_ms, retries_crash, retries_fail, card_condition FROM templates WHERE experiment = ?1"
    " ORDER BY position";
// The order that job_of_row() reads. Behind column 21, what the jobs of one `shared` have in
// common.
#define BITSWEEP_JOB_COLUMNS                                                                   \
    "c.key, s.state, s.attempt, s.crashes, s.failures, s.worker, s.session, s.device,"         \
    " s.last_outcome, s.last_message, s.kinds_tried, s.outgrew_bytes, s.windows_again,"        \
    " s.shown, c.shared, c.batch, c.new_tokens, c.prompt_tokens, c.repeat, c.seed, c.threads," \
    " c.spec_key, p.spec, p.weights_digest, p.dataset_digest, p.numerics_revision,"            \
    " l.yaml_line, l.priority, l.timeout_ms, l.retries_crash, l.retries_fail"
// In run order, without sorting rows.
#define BITSWEEP_MEMBERS                                             \
    " FROM experiment_jobs l CROSS JOIN job_specs c ON c.id = l.job" \
    " CROSS JOIN job_states s ON s.id = l.job CROSS JOIN shared_specs p ON p.id = c.shared"
inline constexpr std::string_view jobs_of =
    "SELECT " BITSWEEP_JOB_COLUMNS BITSWEEP_MEMBERS " WHERE l.experiment = ?1 ORDER BY l.id";
// Every job once, with the policy of the experiment that asked first.
inline constexpr std::string_view all_jobs =
    "SELECT " BITSWEEP_JOB_COLUMNS BITSWEEP_MEMBERS
    " WHERE NOT EXISTS (SELECT 1 FROM experiment_jobs e WHERE e.job = l.job AND e.id < l.id)"
    " ORDER BY l.id";
// What find() compares first, of every job or of those of one spec key. What few jobs are asked for
// is read one by one.
#define BITSWEEP_KNOWN_JOBS                                                        \
    "SELECT c.spec_key, c.id, c.shared, s.result, c.key, s.state FROM job_specs c" \
    " CROSS JOIN job_states s ON s.id = c.id"
inline constexpr std::string_view known_jobs = BITSWEEP_KNOWN_JOBS;
inline constexpr std::string_view known_jobs_of_key = BITSWEEP_KNOWN_JOBS " WHERE c.spec_key = ?1";
inline constexpr std::string_view shared_identity =
    "SELECT numerics_revision, weights_digest, dataset_digest, weights FROM shared_specs"
    " WHERE id = ?1";
inline constexpr std::string_view digests_of_run =
    "SELECT weights_digest, dataset_digest FROM runs WHERE id = ?1";
inline constexpr std::string_view ending_of =
    "SELECT last_outcome, last_message FROM job_states WHERE id = ?1";
inline constexpr std::string_view bindings_of = "SELECT name, digest FROM bindings WHERE kind = ?1";

}  // namespace bitsweep::sql
