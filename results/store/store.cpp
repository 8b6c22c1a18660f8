#include "results/store/store.h"

#include <sys/stat.h>

#include <utility>

#include "results/store/job_reader.h"
#include "results/store/lookup.h"
#include "results/store/migrate.h"
#include "results/store/queries.h"
#include "results/store/reader.h"
#include "results/store/sqlite.h"
#include "results/store/writer.h"
#include "results/store/writer_lock.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// Longer than any reader's checkpoint block, shorter than a heartbeat's patience.
constexpr int busy_timeout_ms = 2'000;

// 60 s: longer than any view needs on 500,000 runs, short enough that a slip of the pen ends by
// itself. 1 GiB: a million raw samples with 15 columns of 64 bytes; beyond it a person wants an
// aggregate, or the file itself.
constexpr QueryLimits query_limits{60'000, std::size_t{1} << 30};

// The name as a URI: SQLite needs one to be told that a file cannot change.
std::string immutable_uri(const fs::path& file) {
    std::string uri = "file:";
    for (const char c : fs::absolute(file).string()) {
        if (c == '%' || c == '?' || c == '#') {
            constexpr char digits[] = "0123456789ABCDEF";
            uri += {'%', digits[(c >> 4) & 15], digits[c & 15]};
        } else {
            uri += c;
        }
    }
    return uri + "?immutable=1";
}

// A WAL database needs files beside it even for reading. Where the folder cannot be written and no
// writer left a log behind, the file cannot change either, and SQLite reads it alone.
Result<Connection> open_for_reading(const fs::path& file) {
    Connection connection = TRY(Connection::open(file, SQLITE_OPEN_READONLY));
    if (connection.integer("SELECT count(*) FROM sqlite_schema").ok()) {
        return connection;
    }
    const Error error = connection.error();
    std::error_code ignored;
    const auto log_size = fs::file_size(file.string() + "-wal", ignored);
    if (error.code != ErrorCode::io || (!ignored && log_size > 0)) {
        return error;
    }
    return Connection::open_uri(immutable_uri(file), file, SQLITE_OPEN_READONLY);
}

Result<Cell> cell_of_row(const Statement& row) {
    Cell cell;
    cell.spec = TRY(job_from_json(row.text(0)));
    cell.identity = {row.text(1), row.text(2), row.text(3), static_cast<int>(row.integer(4))};
    cell.yaml_line = static_cast<int>(row.integer(5));
    cell.policy.priority = static_cast<int>(row.integer(6));
    cell.policy.timeout.ms = row.integer(7);
    cell.policy.retries_crash = static_cast<int>(row.integer(8));
    cell.policy.retries_fail = static_cast<int>(row.integer(9));
    return cell;
}

// Which file a name means; {0, 0}: none.
std::pair<dev_t, ino_t> file_at(const fs::path& name) {
    struct stat facts {};
    return stat(name.c_str(), &facts) == 0 ? std::pair(facts.st_dev, facts.st_ino)
                                           : std::pair<dev_t, ino_t>();
}

class SqliteStore final : public Store {
 public:
    SqliteStore(fs::path file, std::optional<WriterLock> lock, Connection connection)
        : file_(std::move(file)),
          place_(file_at(file_)),
          lock_(std::move(lock)),
          connection_(std::move(connection)) {}

    Status transact(const std::function<Status(StoreWriter&)>& body,
                    WhenLocked when_locked) override;
    Result<std::vector<StoredExperiment>> experiments() override;
    Result<std::vector<StoredJob>> jobs(const ExperimentName& experiment) override;
    Result<std::vector<std::optional<KnownJob>>> find(std::span<const Cell> cells) override {
        return find_jobs(connection_, cells);
    }
    Result<Table> query(const std::string& sql) override;

 private:
    Status read_details(StoredExperiment& experiment);
    fs::path file_;
    std::pair<dev_t, ino_t> place_;
    std::optional<WriterLock> lock_;  // released after the connection is closed
    Connection connection_;
    JobRows rows_;
    std::optional<Connection> reader_;  // for query(): sees only what is committed
};

Status SqliteStore::transact(const std::function<Status(StoreWriter&)>& body,
                             WhenLocked when_locked) {
    if (!lock_) {
        return make_error(ErrorCode::io, file_.string() + " was opened for reading only");
    }
    // What goes into a file without a name is gone when this process ends.
    if (file_at(file_) != place_) {
        return make_error(ErrorCode::io,
                          file_.string() +
                              ": the file was moved, removed or replaced while it is written; put "
                              "it back (with its -wal and -shm), or end the coordinator");
    }
    sqlite3_busy_timeout(connection_.raw(), when_locked == WhenLocked::wait ? busy_timeout_ms : 0);
    TRY(TRY(connection_.cached(sql::begin))->run());
    SqliteWriter writer(connection_, rows_);
    Status done = body(writer);
    if (done) {
        done = writer.finish();
    }
    if (done) {
        done = TRY(connection_.cached(sql::commit))->run();
    }
    if (!done) {
        rows_.forget();
    }
    // A full disk makes SQLite roll back by itself; everything else waits for us to say so.
    if (!done && connection_.in_transaction()) {
        TRY(connection_.exec("ROLLBACK"));
    }
    writer.shrink();
    return done;
}

Result<std::vector<StoredExperiment>> SqliteStore::experiments() {
    Statement rows = TRY(connection_.prepare(sql::experiments));
    std::vector<StoredExperiment> all;
    while (TRY(rows.step())) {
        StoredExperiment& experiment = all.emplace_back();
        experiment.name.value = rows.text(0);
        experiment.yaml = rows.text(1);
        experiment.submitted.unix_ms = rows.integer(2);
        experiment.max_fails = rows.integer(3);
    }
    for (StoredExperiment& experiment : all) {
        TRY(read_details(experiment));
    }
    return all;
}

Status SqliteStore::read_details(StoredExperiment& experiment) {
    Statement tags = TRY(connection_.prepare(sql::tags_of));
    tags.bind_all(experiment.name.value);
    while (TRY(tags.step())) {
        experiment.tags[tags.text(0)] = tags.text(1);
    }
    Statement templates = TRY(connection_.prepare(sql::templates_of));
    templates.bind_all(experiment.name.value);
    while (TRY(templates.step())) {
        Cell cell = TRY(cell_of_row(templates));
        if (std::string condition = templates.text(10); !condition.empty()) {
            cell.card_condition = std::move(condition);
        }
        experiment.templates.push_back(std::move(cell));
    }
    return {};
}

Result<std::vector<StoredJob>> SqliteStore::jobs(const ExperimentName& experiment) {
    Statement rows = TRY(connection_.prepare(experiment.empty() ? sql::all_jobs : sql::jobs_of));
    if (!experiment.empty()) {
        rows.bind_all(experiment.value);
    }
    // Rows are never deleted, so the last id is their number.
    const std::int64_t jobs =
        experiment.empty() ? TRY(connection_.integer("SELECT MAX(id) FROM job_specs")) : 0;
    return read_jobs(rows, static_cast<std::size_t>(jobs));
}

Result<Table> SqliteStore::query(const std::string& sql) {
    if (!reader_) {
        Connection connection = TRY(open_for_reading(file_));
        sqlite3_busy_timeout(connection.raw(), busy_timeout_ms);
        restrict_to_reading(connection);
        reader_ = std::move(connection);
    }
    return run_query(*reader_, sql, query_limits);
}

Result<std::unique_ptr<Store>> open_writer(const fs::path& file) {
    WriterLock lock = TRY(WriterLock::take(file));
    Connection connection = TRY(Connection::open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    TRY(connection.exec(sql::settings));
    TRY(check_schema(connection, file));
    // Asked for writing, SQLite opens a read-only file for reading and says nothing.
    if (sqlite3_db_readonly(connection.raw(), "main") == 1) {
        return make_error(
            ErrorCode::io,
            file.string() + ": read-only; make it writable, or give another file with --db");
    }
    TRY(connection.exec(sql::new_file));
    Statement mode = TRY(connection.prepare("PRAGMA journal_mode = WAL"));
    if (!TRY(mode.step()) || mode.text(0) != "wal") {
        return make_error(ErrorCode::io, file.string() +
                                             ": this file system cannot share memory (a network "
                                             "folder?); put the database on a local disk");
    }
    mode.reset();
    TRY(migrate(connection));
    TRY(connection.exec(sql::writer_settings));
    return std::unique_ptr<Store>(
        std::make_unique<SqliteStore>(file, std::move(lock), std::move(connection)));
}

Result<std::unique_ptr<Store>> open_reader(const fs::path& file) {
    std::error_code ignored;
    if (!fs::exists(file, ignored)) {
        return make_error(ErrorCode::not_found,
                          file.string() +
                              ": no such database; give one with --db or BITSWEEP_DB, or make one "
                              "with `bitsweep run`");
    }
    Connection connection = TRY(open_for_reading(file));
    TRY(connection.exec(sql::settings));
    if (TRY(check_schema(connection, file)) == SchemaState::empty) {
        return make_error(ErrorCode::corrupt, file.string() + ": empty, no bitsweep database");
    }
    const std::int64_t version = TRY(connection.integer("PRAGMA user_version"));
    if (version < newest_schema()) {
        return make_error(ErrorCode::unsupported,
                          file.string() + ": has schema version " + std::to_string(version) +
                              ", this bitsweep reads " + std::to_string(newest_schema()) +
                              "; a `bitsweep serve` or `run` on it brings it up to date");
    }
    return std::unique_ptr<Store>(
        std::make_unique<SqliteStore>(file, std::nullopt, std::move(connection)));
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const fs::path& file, OpenMode mode) {
    // One name for one file: the writer lock of a link has to be that of its target.
    std::error_code error;
    const fs::path real = fs::weakly_canonical(file, error);
    const fs::path& name = error ? file : real;
    return mode == OpenMode::read_write ? open_writer(name) : open_reader(name);
}

}  // namespace bitsweep
