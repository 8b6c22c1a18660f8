// A coordinator, workers and clients as processes of their own, and what happens when one of them
// is killed. The runner is the fake one: its jobs take as long as a test needs.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <thread>

#include "results/store/store.h"
#include "tests/cli/program.h"
#include "tests/temp_folder.h"

namespace bitsweep {

namespace {

constexpr const char* experiment = R"(experiment: kill
question: Is every cell measured once?
defaults: {protocol: quick, prompt: "work 700", new_tokens: 4, quality: off}
matrix:
  model: [llama-pico]
  method: [fp16, int8, nf4, fp4, w8a8, int4-g64, int3-g64, int5-g64]
  gpu: cpu
)";
constexpr std::int64_t cells = 8;

class Orchestration : public testing::Test {
 protected:
    void SetUp() override {
        std::ofstream(folder_ / "kill.yaml") << experiment;
        environment_ = {{"BITSWEEP_RUNNER", FAKE_RUNNER},
                        {"FAKE_RUNNER_JOBS", (folder_ / "jobs").string()}};
        serve("tcp://127.0.0.1:0");
    }

    // A killed coordinator leaves its port at once, so that a later one can take it again.
    void serve(const std::string& listen) {
        server_.reset();
        server_.emplace(folder_,
                        Words{bitsweep_program(), "serve", "--listen", listen, "--lease", "3"});
        ASSERT_TRUE(server_->says("coordinator at", 10)) << server_->err();
        const std::string text = server_->err();
        const std::size_t start = text.find("tcp://");
        url_ = text.substr(start, text.find(',', start) - start);
    }

    std::unique_ptr<Program> worker(const std::string& name) {
        auto worker = std::make_unique<Program>(
            folder_, Words{bitsweep_program(), "worker", "--name", name}, environment_);
        EXPECT_TRUE(worker->says("waiting for jobs", 10)) << worker->err();
        return worker;
    }

    std::unique_ptr<Program> submit() {
        return std::make_unique<Program>(
            folder_, Words{bitsweep_program(), "submit", "kill.yaml", "--wait"});
    }

    // Coordinator and worker are killed, the latter with a result that nobody has taken yet.
    void die_with_a_kept_result(Program& only, Program& client) {
        ASSERT_TRUE(reaches(running_count, 1, 10)) << client.err();
        server_->signal(SIGKILL);
        ASSERT_TRUE(only.says(" done", 10)) << only.err();
        only.signal(SIGKILL);
        only.wait(5);
    }

    Table query(const std::string& sql) {
        const auto store = Store::open(folder_ / "bitsweep.db", OpenMode::read_only);
        if (!store) {
            return {};
        }
        const auto table = (*store)->query(sql);
        EXPECT_TRUE(table) << table.error().message;
        return table ? *table : Table{};
    }

    std::int64_t number(const std::string& sql) {
        const Table table = query(sql);
        return table.rows.empty() ? -1 : table.rows[0][0].integer;
    }

    bool reaches(const std::string& sql, std::int64_t least, int seconds) {
        for (int i = 0; i < seconds * 50; ++i) {
            if (number(sql) >= least) {
                return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return false;
    }

    std::vector<std::string> started_jobs() {
        std::ifstream stream(folder_ / "jobs");
        std::vector<std::string> keys;
        for (std::string key; std::getline(stream, key);) {
            keys.push_back(key);
        }
        return keys;
    }

    // Whether `count` jobs were started within so many seconds.
    bool start(std::size_t count, int seconds) {
        for (int i = 0; i < seconds * 50 && started_jobs().size() < count; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return started_jobs().size() >= count;
    }

    // Every cell has exactly one result that counts.
    void expect_each_cell_once() {
        EXPECT_EQ(number("SELECT COUNT(*) FROM jobs WHERE state = 'done'"), cells);
        EXPECT_EQ(number("SELECT COUNT(*) FROM runs WHERE outcome = 'done'"), cells);
        EXPECT_EQ(number("SELECT COUNT(DISTINCT job) FROM runs WHERE outcome = 'done'"), cells);
    }

    static constexpr const char* done_count = "SELECT COUNT(*) FROM jobs WHERE state = 'done'";
    static constexpr const char* running_count =
        "SELECT COUNT(*) FROM jobs WHERE state = 'running'";

    TempFolder folder_;
    Environment environment_;
    std::optional<Program> server_;
    std::string url_;
};

TEST_F(Orchestration, AKilledWorkersJobIsDoneAgainByTheOther) {
    const auto first = worker("first");
    const auto second = worker("second");
    const auto client = submit();
    ASSERT_TRUE(reaches(running_count, 2, 10)) << client->err();
    ASSERT_TRUE(first->says("on cpu", 10));
    ASSERT_TRUE(start(2, 10));  // dispatched is not yet started
    first->signal(SIGKILL);
    EXPECT_EQ(client->wait(40), 0) << client->err() << server_->err();
    expect_each_cell_once();
    EXPECT_EQ(started_jobs().size(), std::size_t{cells} + 1);
    const Ended status = bitsweep(folder_, {"status", "kill"});
    EXPECT_NE(status.out.find("worker first lost"), std::string::npos) << status.out;
    EXPECT_EQ(bitsweep(folder_, {"submit", "kill.yaml", "--wait"}).code, 0);
    EXPECT_EQ(started_jobs().size(), std::size_t{cells} + 1);
}

TEST_F(Orchestration, AKilledCoordinatorGoesOnWhereItWasAndNothingRunsTwice) {
    const auto first = worker("first");
    const auto second = worker("second");
    const auto client = submit();
    ASSERT_TRUE(reaches(done_count, 2, 15)) << client->err();
    server_->signal(SIGKILL);
    EXPECT_EQ(server_->wait(5), 128 + SIGKILL);
    const std::int64_t acknowledged = number(done_count);
    std::this_thread::sleep_for(std::chrono::milliseconds(900));  // a job ends meanwhile
    serve(url_);
    EXPECT_GE(number(done_count), acknowledged);
    EXPECT_EQ(client->wait(40), 0) << client->err() << server_->err();
    expect_each_cell_once();
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1);
    EXPECT_EQ(started_jobs().size(), std::size_t{cells});
    EXPECT_NE(client->err().find("waiting for it to come back"), std::string::npos)
        << client->err();
}

TEST_F(Orchestration, AResultOutlivesTheDeathOfCoordinatorAndWorker) {
    auto only = worker("only");
    const auto client = submit();
    ASSERT_NO_FATAL_FAILURE(die_with_a_kept_result(*only, *client));
    serve(url_);
    only = worker("only");
    EXPECT_TRUE(only->says("of an earlier life wait to be delivered: 1", 5)) << only->err();
    EXPECT_EQ(client->wait(40), 0) << client->err();
    expect_each_cell_once();
    EXPECT_EQ(started_jobs().size(), std::size_t{cells});
}

TEST_F(Orchestration, AResultKeptForOneDatabaseIsNotGivenToAnotherOfTheSameCells) {
    auto only = worker("only");
    const auto client = submit();
    ASSERT_NO_FATAL_FAILURE(die_with_a_kept_result(*only, *client));
    Program other(folder_, {bitsweep_program(), "serve", "--db", "other.db", "--listen",
                            "tcp://127.0.0.1:0"});
    ASSERT_TRUE(other.says("coordinator at", 10)) << other.err();
    ASSERT_EQ(bitsweep(folder_, {"submit", "kill.yaml", "--db", "other.db"}).code, 0);
    Program there(folder_, {bitsweep_program(), "worker", "--name", "only", "--db", "other.db"},
                  environment_);
    EXPECT_TRUE(there.says("kept for another database", 10)) << there.err();
    there.signal(SIGTERM);
    there.wait(10);
    const Ended early = bitsweep(folder_, {"query", "--db", "other.db", "--format", "csv",
                                           "SELECT count(*) AS n FROM runs WHERE started_unix_ms <"
                                           " (SELECT min(unix_ms) FROM events)"});
    EXPECT_EQ(early.out, "n\n0\n") << early.err;
    serve(url_);
    only = worker("only");
    EXPECT_EQ(client->wait(40), 0) << client->err();
    expect_each_cell_once();
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1) << "the result came home";
}

TEST_F(Orchestration, AWorkerThatIsStoppedGivesItsJobBackAtOnce) {
    auto first = worker("first");
    const auto client = submit();
    ASSERT_TRUE(reaches(running_count, 1, 10)) << client->err();
    first->signal(SIGTERM);
    EXPECT_EQ(first->wait(10), 0);
    const auto second = worker("second");
    EXPECT_EQ(client->wait(40), 0) << client->err();
    expect_each_cell_once();
    EXPECT_EQ(number("SELECT SUM(crashes) FROM jobs"), 0);
}

TEST_F(Orchestration, AJobThatAlwaysCrashesFailsWithItsClassAndTheWorkerLives) {
    const auto only = worker("only");
    const Ended ended =
        bitsweep(folder_, {"submit", "kill.yaml", "--wait", "--set", "prompt=segfault", "--set",
                           "method=[fp16]", "--set", "retries={crash: 1, fail: 0}"});
    EXPECT_EQ(ended.code, 1) << ended.err;
    EXPECT_NE(ended.err.find("1 failed: crash"), std::string::npos) << ended.err;
    EXPECT_EQ(number("SELECT COUNT(*) FROM runs WHERE outcome = 'crash'"), 2);
    EXPECT_EQ(bitsweep(folder_, {"submit", "kill.yaml", "--wait", "--set", "experiment=after",
                                 "--set", "prompt=ok"})
                  .code,
              0);
}

}  // namespace
}  // namespace bitsweep
