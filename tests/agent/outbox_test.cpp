#include "worker/agent/outbox.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "tests/temp_folder.h"
#include "worker/agent/log_folder.h"
#include "worker/agent/state_folder.h"

namespace bitsweep::agent {

namespace {

class OutboxTest : public testing::Test {
 protected:
    Outbox open() {
        auto outbox = Outbox::open(folder_);
        EXPECT_TRUE(outbox);
        return std::move(*outbox);
    }

    std::vector<KeptResult> load() {
        complaints_.clear();
        return open().load(complaints_);
    }

    static KeptResult result(char letter, std::uint32_t attempt = 1,
                             const std::string& database = "d1") {
        RunResult result;
        result.key = {std::string(64, letter)};
        result.attempt = {attempt};
        result.measurements.push_back({"decode_tokens_per_s", "token/s", 0, 12.5});
        return {result, database};
    }

    TempFolder folder_;
    std::vector<std::string> complaints_;
};

TEST_F(OutboxTest, AResultStaysUntilItIsDropped) {
    ASSERT_TRUE(open().keep(result('a')));
    ASSERT_TRUE(open().keep(result('b', 2)));
    auto kept = load();
    ASSERT_EQ(kept.size(), 2u);
    EXPECT_EQ(kept[1].result.attempt.value, 2u);
    EXPECT_EQ(kept[0].result.measurements.at(0).value, 12.5);
    open().drop("d1", kept[0].result.key, kept[0].result.attempt);
    kept = load();
    ASSERT_EQ(kept.size(), 1u);
    EXPECT_EQ(kept[0].result.key.value, std::string(64, 'b'));
}

TEST_F(OutboxTest, ResultsOfTwoDatabasesStayApart) {
    ASSERT_TRUE(open().keep(result('a', 1, "d1")));
    ASSERT_TRUE(open().keep(result('a', 1, "d2")));
    ASSERT_TRUE(open().keep(result('a', 1, "")));
    EXPECT_EQ(load().size(), 3u);
    open().drop("d1", {std::string(64, 'a')}, {1});
    open().drop("", {std::string(64, 'a')}, {1});
    const auto kept = load();
    ASSERT_EQ(kept.size(), 1u);
    EXPECT_EQ(kept[0].database, "d2");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);  // none empty
}

TEST_F(OutboxTest, AResultSurvivesTheDeathOfItsWriter) {
    const pid_t pid = fork();
    if (pid == 0) {
        (void)open().keep(result('a'));
        raise(SIGKILL);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(load().size(), 1u);
}

TEST_F(OutboxTest, AHalfWrittenFileIsNoResultAndGoesAway) {
    std::ofstream(folder_ / "x-1.json.tmp") << "{\"key\":";
    EXPECT_TRUE(load().empty());
    EXPECT_TRUE(complaints_.empty());
    EXPECT_FALSE(std::filesystem::exists(folder_ / "x-1.json.tmp"));
}

TEST_F(OutboxTest, AFileThatIsNoResultIsSetAsideAndNamed) {
    std::ofstream(folder_ / "x-1.json") << "{\"key\":1}";
    ASSERT_TRUE(open().keep(result('a')));
    EXPECT_EQ(load().size(), 1u);
    ASSERT_EQ(complaints_.size(), 1u);
    EXPECT_NE(complaints_[0].find("x-1.json"), std::string::npos);
    EXPECT_EQ(load().size(), 1u);
    EXPECT_TRUE(complaints_.empty());
}

TEST_F(OutboxTest, AKeyThatIsAPathStaysInTheFolder) {
    EXPECT_EQ(file_stem({"../../etc/passwd"}, {1}), "______etc_passwd-1");
    EXPECT_EQ(file_stem({std::string(500, 'a')}, {7}), std::string(64, 'a') + "-7");
}

TEST_F(OutboxTest, AFolderThatCannotBeMadeIsAnErrorThatNamesIt) {
    std::ofstream(folder_ / "file") << "";
    const auto outbox = Outbox::open(folder_ / "file" / "outbox");
    ASSERT_FALSE(outbox);
    EXPECT_EQ(outbox.error().code, ErrorCode::io);
    EXPECT_NE(outbox.error().message.find("file/outbox"), std::string::npos);
}

TEST_F(OutboxTest, ADiskThatDoesNotTakeAResultIsAnErrorAndLaterItDoes) {
    const Outbox outbox = open();
    std::filesystem::remove_all(folder_);
    const Status refused = outbox.keep(result('a'));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::io);
    EXPECT_NE(refused.error().message.find(folder_.string()), std::string::npos);
    std::filesystem::create_directory(folder_);
    EXPECT_TRUE(outbox.keep(result('a')));
    EXPECT_EQ(load().size(), 1u);
}

// A full disk, as far as one process can have one to itself: no file may grow.
TEST_F(OutboxTest, AFullDiskLeavesNoHalfResultBehind) {
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const rlimit none{0, 0};
        setrlimit(RLIMIT_FSIZE, &none);
        const Status kept = Outbox::open(folder_)->keep(result('a'));
        _exit(!kept && kept.error().message.find("File too large") != std::string::npos ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(OutboxTest, OldLogsGoFirstAndOtherFilesStay) {
    for (int i = 0; i < 5; ++i) {
        const auto file = folder_ / (std::to_string(i) + ".log");
        std::ofstream(file) << std::string(100, 'x');
        std::filesystem::last_write_time(
            file, std::filesystem::file_time_type::clock::now() - std::chrono::hours(10 - i));
    }
    std::ofstream(folder_ / "notes.txt") << "mine";
    prune_logs(folder_, {3, 1'000});
    EXPECT_FALSE(std::filesystem::exists(folder_ / "1.log"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "2.log"));
    prune_logs(folder_, {3, 150});
    EXPECT_FALSE(std::filesystem::exists(folder_ / "3.log"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "4.log"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "notes.txt"));
}

class StateFolderTest : public OutboxTest {
 protected:
    void SetUp() override { setenv("XDG_STATE_HOME", folder_.c_str(), 1); }
    void TearDown() override { unsetenv("XDG_STATE_HOME"); }
};

TEST_F(StateFolderTest, TwoWorkersOfAHostGetTwoNames) {
    const auto first = StateFolder::take({}, "");
    const auto second = StateFolder::take({}, "");
    ASSERT_TRUE(first && second);
    EXPECT_NE(first->name(), second->name());
    EXPECT_NE(first->path(), second->path());
}

TEST_F(StateFolderTest, AWorkerThatIsStartedAgainFindsItsFolder) {
    std::filesystem::path before;
    {
        const auto first = StateFolder::take({}, "");
        ASSERT_TRUE(first);
        before = first->path();
    }
    const auto again = StateFolder::take({}, "");
    ASSERT_TRUE(again);
    EXPECT_EQ(again->path(), before);
}

TEST_F(StateFolderTest, AFolderInUseIsRefusedWithARemedy) {
    const auto first = StateFolder::take(folder_ / "w", "one");
    ASSERT_TRUE(first);
    const auto second = StateFolder::take(folder_ / "w", "two");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::already_exists);
    EXPECT_NE(second.error().message.find("--state"), std::string::npos);
}

TEST_F(StateFolderTest, ANameThatIsAPathIsRefused) {
    const auto state = StateFolder::take({}, "../up");
    ASSERT_FALSE(state);
    EXPECT_EQ(state.error().code, ErrorCode::invalid_input);
}

}  // namespace
}  // namespace bitsweep::agent
