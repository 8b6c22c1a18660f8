#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

TEST(Transact, anErrorOfTheBodyUndoesAllOfIt) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const Status done = store->transact([&](StoreWriter& writer) -> Status {
        TRY(writer.put_experiment(make_experiment("e")));
        TRY(writer.put_job({"e"}, make_job("fp16")));
        return make_error(ErrorCode::refused, "the caller changed its mind");
    });
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().message, "the caller changed its mind");
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 0);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM experiments"), 0);
    put_jobs(*store, "e", {make_job("fp16")});
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 1);
}

TEST(Transact, whatWasAcknowledgedSurvivesSigkillOfTheWriter) {
    TempFolder folder;
    int acknowledged[2];
    ASSERT_EQ(pipe(acknowledged), 0);
    const pid_t child = fork();
    if (child == 0) {
        auto store = Store::open(folder / "a.db", OpenMode::read_write);
        for (int repeat = 0; store.ok(); ++repeat) {
            const StoredJob job = make_job("fp16", repeat);
            const Status done = (*store)->transact([&](StoreWriter& writer) -> Status {
                TRY(writer.put_experiment(make_experiment("e")));
                TRY(writer.put_job({"e"}, job));
                TRY(writer.put_run(make_run(job, 1.0 + repeat)));
                return {};
            });
            if (!done || write(acknowledged[1], ".", 1) != 1) {
                break;
            }
        }
        _exit(1);
    }
    close(acknowledged[1]);
    int count = 0;
    char byte = 0;
    while (count < 20 && read(acknowledged[0], &byte, 1) == 1) {
        ++count;
    }
    kill(child, SIGKILL);
    while (read(acknowledged[0], &byte, 1) == 1) {
        ++count;
    }
    close(acknowledged[0]);
    waitpid(child, nullptr, 0);
    ASSERT_GE(count, 20);

    auto store = open_store(folder / "a.db");
    // The newest one may have been committed without its acknowledgement getting out.
    const double stored = number(*store, "SELECT count(*) FROM v_results");
    EXPECT_GE(stored, count);
    EXPECT_LE(stored, count + 1);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_results WHERE repeat < " +
                                 std::to_string(count) + " AND decode_tokens_per_s = repeat + 1.0"),
              count);
}

// Runs `body` in a child and returns its exit status.
int in_child(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

// Writes until the store says no: 0 when it says io, and afterwards what was acknowledged is there.
int fill_until_refused(const std::filesystem::path& file) {
    auto store = Store::open(file, OpenMode::read_write);
    if (!store) {
        return 10;
    }
    int acknowledged = 0;
    Status done;
    for (; done && acknowledged < 10'000; acknowledged += done ? 1 : 0) {
        FinishedRun run = make_run(make_job("fp16", acknowledged), 1);
        run.result.outcome.evidence = std::string(10'000, 'e');
        done = (*store)->transact([&](StoreWriter& writer) -> Status {
            TRY(writer.put_experiment(make_experiment("e")));
            TRY(writer.put_job({"e"}, make_job("fp16", acknowledged)));
            TRY(writer.put_run(run));
            return {};
        });
    }
    if (done || done.error().code != ErrorCode::io || acknowledged == 0) {
        return 11;
    }
    const auto rows = (*store)->query("SELECT count(*) FROM runs");
    return rows.ok() && rows->rows[0][0].integer == acknowledged ? 0 : 12;
}

TEST(Transact, aFileThatMayNotGrowIsIoAndNothingAcknowledgedIsLost) {
    TempFolder folder;
    EXPECT_EQ(in_child([&] {
                  signal(SIGXFSZ, SIG_IGN);
                  const rlimit limit{1'000'000, 1'000'000};
                  setrlimit(RLIMIT_FSIZE, &limit);
                  return fill_until_refused(folder / "a.db");
              }),
              0);
    auto store = open_store(folder / "a.db");
    EXPECT_GT(number(*store, "SELECT count(*) FROM runs"), 0);
    EXPECT_EQ(text(*store, "PRAGMA integrity_check"), "ok");
}

TEST(Transact, aFileThatLostItsNameTakesNothingUntilItIsBack) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const auto put = [&](const char* name) {
        return store->transact(
            [&](StoreWriter& writer) { return writer.put_experiment(make_experiment(name)); });
    };
    ASSERT_TRUE(put("one").ok());
    std::filesystem::rename(folder / "a.db", folder / "b.db");
    const Status refused = put("two");
    EXPECT_EQ(refused.error().code, ErrorCode::io);
    EXPECT_NE(refused.error().message.find("moved, removed or replaced"), std::string::npos);
    std::ofstream(folder / "a.db") << "another";
    EXPECT_FALSE(put("two").ok());
    std::filesystem::rename(folder / "b.db", folder / "a.db");
    EXPECT_TRUE(put("two").ok());
    EXPECT_EQ(store->experiments().value().size(), 2u);
}

TEST(Transact, aFullDiskIsIoAndNothingAcknowledgedIsLost) {
    TempFolder folder;
    if (mount("none", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
        GTEST_SKIP() << "may not mount a small tmpfs here";
    }
    EXPECT_EQ(in_child([&] { return fill_until_refused(folder / "a.db"); }), 0);
    umount(folder.path().c_str());
}

TEST(Transact, aDatabaseThatAnotherToolLocksIsIoInWordsAndWorksAgainAfterwards) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    sqlite3* other = nullptr;
    ASSERT_EQ(sqlite3_open((folder / "a.db").c_str(), &other), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    const auto write = [](StoreWriter& writer) {
        return writer.put_experiment(make_experiment("e"));
    };
    const Status refused = store->transact(write);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::io);
    EXPECT_NE(refused.error().message.find("locked"), std::string::npos);
    EXPECT_NE(refused.error().message.find("another program"), std::string::npos);
    sqlite3_close(other);
    EXPECT_TRUE(store->transact(write).ok());
}

TEST(Transact, aReaderCannotWrite) {
    TempFolder folder;
    open_store(folder / "a.db").reset();
    auto reader = open_store(folder / "a.db", OpenMode::read_only);
    const Status done = reader->transact([](StoreWriter&) -> Status { return {}; });
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, ErrorCode::io);
}

TEST(Transact, aReaderSeesWhatTheWriterCommitsWhileBothAreOpen) {
    TempFolder folder;
    auto writer = open_store(folder / "a.db");
    auto reader = open_store(folder / "a.db", OpenMode::read_only);
    EXPECT_EQ(number(*reader, "SELECT count(*) FROM jobs"), 0);
    put_jobs(*writer, "e", {make_job("fp16")});
    EXPECT_EQ(number(*reader, "SELECT count(*) FROM jobs"), 1);
}

}  // namespace
}  // namespace bitsweep::testing
