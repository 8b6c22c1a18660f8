// A database of an earlier release is brought up to date, and everybody who asks it gets the same
// answers as before.
#include <sqlite3.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "results/store/migrate.h"
#include "results/store/sqlite.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// The files of schemas/sql in order.
std::vector<fs::path> migration_files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(BITSWEEP_SOURCE_DIR "/schemas/sql")) {
        files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
}

constexpr const char* old_rows = R"(
INSERT INTO experiments VALUES ('e', 'experiment: e', 1, 0), ('f', 'experiment: f', 2, 3);
INSERT INTO jobs (key, model, weights, method, threshold, head, kv, gpu, batch, prompt_tokens,
    new_tokens, protocol, threads, seed, repeat, text, spec, canonical, series, setting, spec_key,
    weights_digest, dataset_digest, numerics_revision, state, attempt, crashes, failures, worker,
    session, device, last_outcome, last_message, kinds_tried, outgrew_bytes)
  SELECT 'key' || value, 'tiny', 'real', iif(value % 2, 'fp16', 'int8'), NULL, 16, '16', 'cpu', 1,
    0, 8, 'quick', 0, value, value / 2, 'heldout-fiction', '{"batch":1}', '{"b":1}',
    's' || (value % 2), 'setting', 'spec' || value, '', '', 1,
    iif(value < 4, 'done', iif(value = 4, 'running', 'waiting')), value, 1, 2, 'w', 'w-1', 'cpu',
    'done', 'words', 'a card' || char(10) || 'another', 77 FROM generate_numbers;
INSERT INTO experiment_jobs (experiment, job, yaml_line, priority, timeout_ms, retries_crash,
    retries_fail, asked) SELECT 'e', id, 7, 5, 1000, 3, 0, id <> 2 FROM jobs;
INSERT INTO runs (job, attempt, outcome, message, evidence, worker, device, device_kind,
    device_name, started_unix_ms, finished_unix_ms, weights_digest, dataset_digest, provenance,
    generated_text, prompt_ids, new_ids)
  SELECT id, attempt, 'done', '', '', 'w', 'cpu', 'cpu', 'c', 1, 2, 'd1', '', '{}', 'text', '[]',
    '[1]' FROM jobs WHERE state = 'done';
INSERT INTO runs (job, attempt, outcome, message, evidence, worker, device, device_kind,
    device_name, started_unix_ms, finished_unix_ms, weights_digest, dataset_digest, provenance,
    generated_text, prompt_ids, new_ids)
  VALUES (5, 3, 'crash', 'signal 11', 'SIGSEGV', 'w', 'cpu', 'cpu', 'c', 1, 2, '', '', '{}', '',
    '[]', '[]');
UPDATE jobs SET result = (SELECT id FROM runs WHERE job = jobs.id) WHERE state = 'done';
INSERT INTO measurements SELECT id, 'decode_tokens_per_s', 0, 'token/s', 10.0 * id FROM runs;
INSERT INTO measurements SELECT id, 'perplexity', 0, '1', 3.5 FROM runs;
INSERT INTO samples SELECT id, 'token_latency', 'ns', 2, '[1,2]' FROM runs;
INSERT INTO bindings VALUES ('model', 'tiny', 'd1', 1);
)";

// As the release before schema `version` + 1 left it.
void make_old(const fs::path& file, int version) {
    Connection old = Connection::open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE).value();
    for (const fs::path& migration : migration_files()) {
        if (std::stoi(migration.filename().string()) <= version) {
            ASSERT_TRUE(old.exec(read_file(migration).c_str()).ok()) << migration;
        }
    }
    std::string rows = old_rows;
    rows.replace(rows.find("generate_numbers"), 16,
                 "(WITH n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < 9) "
                 "SELECT value FROM n)");
    const Status filled = old.exec(rows.c_str());
    ASSERT_TRUE(filled.ok()) << filled.error().message;
    ASSERT_TRUE(old.exec(("PRAGMA application_id = " + std::to_string(database_application_id) +
                          "; PRAGMA user_version = " + std::to_string(version))
                             .c_str())
                    .ok());
}

// Columns that version 4 had not.
const std::set<std::string> new_columns = {"windows_again",
                                           "shown",
                                           "window_rate_drift",
                                           "window_sentinel_drift",
                                           "foreign_processes",
                                           "run_queue_wait_share",
                                           "window_foreign_load",
                                           "disturbed",
                                           "flagged"};

// Every row of a table or view as text.
std::string content(Connection& connection, const std::string& name) {
    Statement rows = connection.prepare("SELECT * FROM " + name).value();
    std::string all;
    while (rows.step().value()) {
        for (int i = 0; i < sqlite3_column_count(rows.raw()); ++i) {
            const std::string column = sqlite3_column_name(rows.raw(), i);
            if (!new_columns.contains(column)) {
                all += column + "=" + (rows.is_null(i) ? "NULL" : rows.text(i)) + "|";
            }
        }
        all += "\n";
    }
    return all;
}

std::map<std::string, std::string> answers(const fs::path& file) {
    Connection connection = Connection::open(file, SQLITE_OPEN_READONLY).value();
    std::map<std::string, std::string> all;
    for (const char* name :
         {"jobs", "experiment_jobs", "runs", "measurements", "samples", "bindings", "v_cells",
          "v_results", "v_summary", "v_speedup", "v_quality", "v_memory", "v_samples", "v_outliers",
          "v_failures", "v_former", "v_windows"}) {
        all[name] = content(connection, name);
    }
    return all;
}

TEST(Migrate, everyTableAndViewAnswersAsBeforeAndNothingIsOrphaned) {
    TempFolder folder;
    make_old(folder / "a.db", 4);
    const auto before = answers(folder / "a.db");
    EXPECT_NE(before.at("v_speedup"), "");
    EXPECT_NE(before.at("v_former"), "");
    EXPECT_NE(before.at("v_failures"), "");
    {
        const auto store = open_store(folder / "a.db");
        EXPECT_EQ(number(*store, "SELECT user_version FROM pragma_user_version"), newest_schema());
        EXPECT_EQ(number(*store, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
        EXPECT_EQ(text(*store, "SELECT group_concat(integrity_check) FROM pragma_integrity_check"),
                  "ok");
    }
    const auto after = answers(folder / "a.db");
    for (const auto& [name, rows] : before) {
        EXPECT_EQ(after.at(name), rows) << name;
    }
}

TEST(Migrate, aJobOfAnOldDatabaseGoesOn) {
    TempFolder folder;
    make_old(folder / "a.db", 4);
    const auto store = open_store(folder / "a.db");
    StoredJob job;
    job.key.value = "key4";
    job.state = "done";
    job.attempt = {4};
    FinishedRun run = make_run(job, 50);
    run.result.attempt = {4};
    ASSERT_TRUE(store
                    ->transact([&](StoreWriter& writer) -> Status {
                        TRY(writer.put_run(run));
                        return writer.set_job(job);
                    })
                    .ok());
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s FROM v_results WHERE key = 'key4'"), 50);
    EXPECT_EQ(text(*store, "SELECT state || kinds_tried FROM jobs WHERE key = 'key4'"), "done");
    StoredJob fresh = make_job("fp16");
    put_jobs(*store, "g", {fresh});
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 11);
}

TEST(Migrate, foreignKeysHoldAfterwardsAsBefore) {
    TempFolder folder;
    make_old(folder / "a.db", 4);
    Connection connection = Connection::open(folder / "a.db", SQLITE_OPEN_READWRITE).value();
    ASSERT_TRUE(connection.exec("PRAGMA foreign_keys = ON").ok());
    ASSERT_TRUE(migrate(connection).ok());
    EXPECT_EQ(*connection.integer("PRAGMA foreign_keys"), 1);
    EXPECT_EQ(*connection.integer("PRAGMA legacy_alter_table"), 0);
    EXPECT_FALSE(connection.exec("DELETE FROM job_specs").ok());
    EXPECT_FALSE(connection.exec("DELETE FROM job_states").ok());
    EXPECT_FALSE(connection
                     .exec("INSERT INTO job_states SELECT 99, state, 1, 0, 0, '', '', '', "
                           "'done', '', NULL, '', 0, 0, 'nothing' FROM job_states LIMIT 1")
                     .ok());
}

TEST(Migrate, anOldDatabaseWithAnOrphanStaysAsItWas) {
    TempFolder folder;
    make_old(folder / "a.db", 4);
    {
        Connection old = Connection::open(folder / "a.db", SQLITE_OPEN_READWRITE).value();
        ASSERT_TRUE(old.exec("UPDATE runs SET job = 1234 WHERE id = 5").ok());
    }
    const auto store = Store::open(folder / "a.db", OpenMode::read_write);
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.error().code, ErrorCode::corrupt);
    EXPECT_NE(store.error().message.find("a row of runs refers to nothing in job_states"),
              std::string::npos)
        << store.error().message;
    Connection old = Connection::open(folder / "a.db", SQLITE_OPEN_READONLY).value();
    EXPECT_EQ(*old.integer("PRAGMA user_version"), 4);
    EXPECT_EQ(*old.integer("SELECT count(*) FROM jobs"), 10);
}

}  // namespace
}  // namespace bitsweep::testing
