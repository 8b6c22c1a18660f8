#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "results/store/migrate.h"
#include "results/store/sqlite.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

void run_sql(const fs::path& file, const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
    char* words = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &words), SQLITE_OK)
        << (words ? words : "");
    sqlite3_close(db);
}

std::string bytes_of(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// What `body` returns, run by an unprivileged user in a child: root ignores file modes.
int as_nobody(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        constexpr uid_t nobody = 65534;
        if (geteuid() == 0 && seteuid(nobody) != 0) {
            _exit(99);
        }
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

TEST(Open, anEmptyDatabaseGetsTheNewestSchemaAndOurMark) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    EXPECT_EQ(number(*store, "SELECT user_version FROM pragma_user_version"), newest_schema());
    EXPECT_EQ(number(*store, "PRAGMA application_id"), database_application_id);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM sqlite_schema WHERE name = 'v_summary'"), 1);
    EXPECT_EQ(number(*store,
                     "SELECT count(*) FROM pragma_integrity_check "
                     "WHERE integrity_check <> 'ok'"),
              0);
}

TEST(Open, openingAgainChangesNothing) {
    TempFolder folder;
    open_store(folder / "a.db").reset();
    const std::string before = bytes_of(folder / "a.db");
    open_store(folder / "a.db").reset();
    EXPECT_EQ(bytes_of(folder / "a.db"), before);
    EXPECT_FALSE(fs::exists(folder / "a.db-wal"));
    EXPECT_FALSE(fs::exists(folder / "a.db.writer"));
}

TEST(Open, aNewerSchemaIsUnsupportedAndBothNumbersAreNamed) {
    TempFolder folder;
    open_store(folder / "a.db").reset();
    run_sql(folder / "a.db", "PRAGMA user_version = 907");
    const std::string before = bytes_of(folder / "a.db");
    for (const OpenMode mode : {OpenMode::read_write, OpenMode::read_only}) {
        const auto store = Store::open(folder / "a.db", mode);
        ASSERT_FALSE(store.ok());
        EXPECT_EQ(store.error().code, ErrorCode::unsupported);
        EXPECT_NE(store.error().message.find("version 907"), std::string::npos);
        EXPECT_NE(store.error().message.find("up to " + std::to_string(newest_schema())),
                  std::string::npos);
    }
    EXPECT_EQ(bytes_of(folder / "a.db"), before);
}

TEST(Open, anotherProgramsDatabaseIsCorruptAndStaysAsItWas) {
    TempFolder folder;
    run_sql(folder / "other.db", "CREATE TABLE cats (name); INSERT INTO cats VALUES ('Tom')");
    const std::string before = bytes_of(folder / "other.db");
    for (const OpenMode mode : {OpenMode::read_write, OpenMode::read_only}) {
        const auto store = Store::open(folder / "other.db", mode);
        ASSERT_FALSE(store.ok());
        EXPECT_EQ(store.error().code, ErrorCode::corrupt) << store.error().message;
    }
    EXPECT_EQ(bytes_of(folder / "other.db"), before);
}

TEST(Open, aFileThatIsNoDatabaseIsCorruptAndStaysAsItWas) {
    TempFolder folder;
    std::ofstream(folder / "text.db") << std::string(5000, 'x');
    for (const OpenMode mode : {OpenMode::read_write, OpenMode::read_only}) {
        const auto store = Store::open(folder / "text.db", mode);
        ASSERT_FALSE(store.ok());
        EXPECT_EQ(store.error().code, ErrorCode::corrupt) << store.error().message;
        EXPECT_NE(store.error().message.find("text.db"), std::string::npos);
    }
    EXPECT_EQ(bytes_of(folder / "text.db"), std::string(5000, 'x'));
}

TEST(Open, readingAMissingFileIsNotFoundAndMakesNone) {
    TempFolder folder;
    const auto store = Store::open(folder / "none.db", OpenMode::read_only);
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.error().code, ErrorCode::not_found);
    EXPECT_FALSE(fs::exists(folder / "none.db"));
}

TEST(Open, aMissingFolderIsIoInWords) {
    TempFolder folder;
    const auto store = Store::open(folder / "no/such/a.db", OpenMode::read_write);
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.error().code, ErrorCode::io);
    EXPECT_NE(store.error().message.find("No such file or directory"), std::string::npos);
}

TEST(Open, aSecondWriterIsRefusedAndTheFirstIsNamed) {
    TempFolder folder;
    auto first = open_store(folder / "a.db");
    fs::create_symlink(folder / "a.db", folder / "link.db");
    for (const char* name : {"a.db", "link.db"}) {
        const auto second = Store::open(folder / name, OpenMode::read_write);
        ASSERT_FALSE(second.ok());
        EXPECT_EQ(second.error().code, ErrorCode::already_exists);
        EXPECT_NE(second.error().message.find("process " + std::to_string(getpid())),
                  std::string::npos);
    }
    EXPECT_TRUE(Store::open(folder / "a.db", OpenMode::read_only).ok());
    first.reset();
    EXPECT_TRUE(Store::open(folder / "a.db", OpenMode::read_write).ok());
}

TEST(Open, theWriterLockEndsWithItsHolderEvenBySigkill) {
    TempFolder folder;
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        const auto store = Store::open(folder / "a.db", OpenMode::read_write);
        [[maybe_unused]] const auto told = write(ready[1], store.ok() ? "y" : "n", 1);
        pause();
        _exit(0);
    }
    char answer = 0;
    ASSERT_EQ(read(ready[0], &answer, 1), 1);
    ASSERT_EQ(answer, 'y');
    const auto refused = Store::open(folder / "a.db", OpenMode::read_write);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::already_exists);
    EXPECT_NE(refused.error().message.find(std::to_string(child)), std::string::npos);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    EXPECT_TRUE(fs::exists(folder / "a.db.writer"));
    EXPECT_TRUE(Store::open(folder / "a.db", OpenMode::read_write).ok());
    close(ready[0]);
    close(ready[1]);
}

TEST(Open, aReadOnlyFolderIsIoForAWriterAndReadableForAReader) {
    TempFolder folder;
    {
        auto store = open_store(folder / "a.db");
        put_jobs(*store, "e", {make_job("fp16")});
    }
    fs::permissions(folder / "a.db", fs::perms(0444));
    fs::permissions(folder.path(), fs::perms(0555));
    EXPECT_EQ(as_nobody([&] {
                  const auto writer = Store::open(folder / "a.db", OpenMode::read_write);
                  return writer.ok() ? 1 : writer.error().code == ErrorCode::io ? 0 : 2;
              }),
              0);
    EXPECT_EQ(as_nobody([&] {
                  auto reader = Store::open(folder / "a.db", OpenMode::read_only);
                  if (!reader) {
                      return 1;
                  }
                  const auto rows = (*reader)->query("SELECT * FROM jobs");
                  return rows.ok() && rows->rows.size() == 1 ? 0 : 2;
              }),
              0);
    fs::permissions(folder.path(), fs::perms(0755));
}

TEST(Open, aReadOnlyFileIsIoForAWriter) {
    TempFolder folder;
    open_store(folder / "a.db").reset();
    fs::permissions(folder / "a.db", fs::perms(0444));
    fs::permissions(folder.path(), fs::perms(0777));
    EXPECT_EQ(as_nobody([&] {
                  const auto writer = Store::open(folder / "a.db", OpenMode::read_write);
                  return writer.ok() ? 1 : writer.error().code == ErrorCode::io ? 0 : 2;
              }),
              0);
    EXPECT_FALSE(fs::exists(folder / "a.db.writer"));
}

TEST(Open, aFailedMigrationLeavesTheVersionBeforeIt) {
    TempFolder folder;
    auto connection = Connection::open(folder / "a.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_TRUE(connection.ok());
    // A table in the way makes the first migration fail half way through.
    ASSERT_TRUE(connection->exec("CREATE TABLE events (x)").ok());
    EXPECT_FALSE(migrate(*connection).ok());
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_EQ(*connection->integer("PRAGMA user_version"), 0);
    EXPECT_EQ(*connection->integer("SELECT count(*) FROM sqlite_schema"), 1);
}

}  // namespace
}  // namespace bitsweep::testing
