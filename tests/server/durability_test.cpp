// The loop on a real database while the world around the file goes wrong: locked by another tool,
// no room to grow, the coordinator gone without a word.
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <filesystem>

#include "coordinator/scheduler/placement.h"
#include "coordinator/server/recover.h"
#include "tests/server/loop_fixture.h"
#include "tests/temp_folder.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

class Durability : public ::testing::Test {
 protected:
    void SetUp() override { start(); }
    void TearDown() override {
        loop_.reset();
        store_.reset();
    }

    // As after SIGKILL: nothing of the process before is left but the file.
    void start() {
        loop_.reset();
        store_.reset();
        auto opened = Store::open(folder_ / "a.db", OpenMode::read_write);
        ASSERT_TRUE(opened.ok()) << opened.error().message;
        store_ = std::move(opened).value();
        LoopOptions options;
        options.roles = RoleCheck::open;
        loop_ = std::make_unique<Loop>(
            router_, *store_, [this] { return now_; }, options);
        const Status recovered = loop_->recover();
        ASSERT_TRUE(recovered.ok()) << recovered.error().message;
    }

    void say(const std::string& from, Message message) {
        router_.inbox.push_back({{from, from, Role::submit, ""}, std::move(message)});
    }
    void turn_after(std::int64_t ms) {
        now_ = now_ + Duration{ms};
        loop_->turn();
    }

    template <class Wanted>
    std::vector<Wanted> take_all() {
        std::vector<Wanted> taken;
        for (auto& [to, message] : router_.sent) {
            if (auto* wanted = std::get_if<Wanted>(&message)) {
                taken.push_back(std::move(*wanted));
            }
        }
        std::erase_if(router_.sent,
                      [](const auto& sent) { return std::holds_alternative<Wanted>(sent.second); });
        return taken;
    }

    // One worker with two devices, three cells; the first two are handed out.
    std::vector<Dispatch> two_dispatches() {
        Submit submit;
        submit.experiment = ExperimentName{"sweep"};
        submit.yaml = "experiment: sweep";
        for (std::uint64_t seed = 0; seed < 3; ++seed) {
            Cell cell;
            cell.spec.model.name = "m";
            cell.spec.method = "fp16";
            cell.spec.seed = seed;
            submit.cells.push_back(cell);
        }
        say("client", submit);
        Hello hello;
        hello.worker = WorkerName{"w1"};
        hello.session = SessionId{"w1-1"};
        hello.models = {"m"};
        hello.devices = {{"cpu", "cpu", "cpu", 0, 0, {}}, {"cpu:1", "cpu", "cpu", 0, 0, {}}};
        say("w1", hello);
        turn_after(1);
        return take_all<Dispatch>();
    }

    void deliver(const Dispatch& dispatch, std::size_t sample_count = 0) {
        ResultDelivery delivery{SessionId{"w1-1"}, {}};
        delivery.result.key = dispatch.key;
        delivery.result.attempt = dispatch.attempt;
        if (sample_count > 0) {
            delivery.result.samples.push_back(
                {"token_latency", "ns", std::vector<double>(sample_count, 1.0 / 3)});
        }
        say("w1", delivery);
    }

    std::int64_t count(const std::string& sql) {
        const auto table = store_->query(sql);
        return table.ok() ? table->rows.at(0).at(0).integer : -1;
    }

    TimePoint now_{1'000'000};
    TempFolder folder_;
    FakeRouter router_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Loop> loop_;
};

TEST_F(Durability, a_database_that_another_tool_locks_stops_dispatch_until_it_is_free) {
    const std::vector<Dispatch> dispatched = two_dispatches();
    ASSERT_EQ(dispatched.size(), 2u);
    sqlite3* other = nullptr;
    ASSERT_EQ(sqlite3_open((folder_ / "a.db").c_str(), &other), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);

    deliver(dispatched[0]);
    turn_after(1'000);
    EXPECT_NE(loop_->store_trouble().find("locked"), std::string::npos) << loop_->store_trouble();
    EXPECT_NE(loop_->store_trouble().find("a.db"), std::string::npos);
    EXPECT_TRUE(take_all<ResultAck>().empty());
    EXPECT_TRUE(take_all<Dispatch>().empty());

    ASSERT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(other);
    turn_after(10'000);
    EXPECT_EQ(loop_->store_trouble(), "");
    EXPECT_EQ(take_all<ResultAck>().size(), 1u);
    EXPECT_EQ(take_all<Dispatch>().size(), 1u);
    EXPECT_EQ(count("SELECT count(*) FROM runs"), 1);
}

TEST_F(Durability, a_disk_without_room_stops_dispatch_until_there_is_some) {
    const std::vector<Dispatch> dispatched = two_dispatches();
    ASSERT_EQ(dispatched.size(), 2u);
    signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit tight = before;
    tight.rlim_cur = fs::file_size(folder_ / "a.db-wal") + 8'192;
    setrlimit(RLIMIT_FSIZE, &tight);

    deliver(dispatched[0], 20'000);
    deliver(dispatched[1], 20'000);
    turn_after(1'000);
    const std::string trouble = loop_->store_trouble();
    EXPECT_NE(trouble, "");
    EXPECT_TRUE(take_all<ResultAck>().empty());
    EXPECT_TRUE(take_all<Dispatch>().empty());

    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(count("SELECT count(*) FROM runs"), 0) << "a part of the transaction is there";
    turn_after(10'000);
    EXPECT_EQ(loop_->store_trouble(), "");
    EXPECT_EQ(take_all<ResultAck>().size(), 2u);
    EXPECT_EQ(count("SELECT count(*) FROM runs"), 2);
}

TEST_F(Durability, what_was_handed_out_or_acknowledged_is_there_after_a_kill) {
    const std::vector<Dispatch> dispatched = two_dispatches();
    ASSERT_EQ(dispatched.size(), 2u);
    deliver(dispatched[0]);
    turn_after(1'000);
    ASSERT_EQ(take_all<ResultAck>().size(), 1u);
    const std::vector<Dispatch> third = take_all<Dispatch>();
    ASSERT_EQ(third.size(), 1u);

    start();
    const scheduler::State& state = loop_->scheduler().state();
    EXPECT_EQ(state.running().size(), 2u);
    Hello hello;
    hello.worker = WorkerName{"w1"};
    hello.session = SessionId{"w1-1"};
    hello.models = {"m"};
    hello.devices = {{"cpu", "cpu", "cpu", 0, 0, {}}, {"cpu:1", "cpu", "cpu", 0, 0, {}}};
    hello.running = {{dispatched[1].key, dispatched[1].attempt}, {third[0].key, third[0].attempt}};
    say("w1", hello);
    deliver(dispatched[0]);  // the acknowledgement did not arrive
    deliver(dispatched[1]);
    deliver(third[0]);
    turn_after(1'000);
    EXPECT_TRUE(take_all<Dispatch>().empty()) << "a running job was handed out twice";
    EXPECT_EQ(take_all<ResultAck>().size(), 3u);
    EXPECT_EQ(count("SELECT count(*) FROM runs"), 3);
    EXPECT_EQ(count("SELECT count(*) FROM jobs WHERE state = 'done' AND attempt = 1"), 3);
}

TEST_F(Durability, what_a_card_was_seen_to_hold_is_known_after_a_restart) {
    Submit submit;
    submit.experiment = ExperimentName{"cards"};
    submit.yaml = "experiment: cards";
    Cell cell;
    cell.spec.model.name = "m";
    cell.spec.method = "fp16";
    cell.spec.gpu = "T4";
    submit.cells.push_back(cell);
    say("client", submit);
    Hello hello;
    hello.worker = WorkerName{"w1"};
    hello.session = SessionId{"w1-1"};
    hello.models = {"m"};
    hello.devices = {{"cuda:0", "T4", "T4", 16ull << 30, 0, {}}};
    say("w1", hello);
    turn_after(1);
    const std::vector<Dispatch> dispatched = take_all<Dispatch>();
    ASSERT_EQ(dispatched.size(), 1u);
    ResultDelivery delivery{SessionId{"w1-1"}, {}};
    delivery.result.key = dispatched[0].key;
    delivery.result.attempt = dispatched[0].attempt;
    delivery.result.measurements.push_back(
        {std::string(scheduler::peak_metric), "B", 0, 3.0 * (1ull << 30)});
    say("w1", delivery);
    turn_after(1'000);
    start();
    EXPECT_EQ(loop_->scheduler().state().peaks.at(scheduler::footprint(cell.spec, false)),
              3ull << 30);
}

TEST_F(Durability, a_job_of_a_database_that_nobody_serves_is_explained) {
    two_dispatches();
    loop_.reset();
    store_.reset();
    auto reader = Store::open(folder_ / "a.db", OpenMode::read_only);
    ASSERT_TRUE(reader.ok());
    const auto jobs = reader.value()->jobs(ExperimentName{"sweep"});
    ASSERT_TRUE(jobs.ok());
    const auto told = explain_stored(**reader, jobs->at(2).key.value.substr(0, 12), now_);
    ASSERT_TRUE(told.ok()) << told.error().message;
    EXPECT_EQ(told->state, "waiting");
    EXPECT_EQ(told->lines.at(0).substr(0, 38), "no coordinator serves this database: `");
    EXPECT_EQ(told->lines.at(1), "no worker is attached");
    start();
}

TEST_F(Durability, a_second_coordinator_of_the_database_is_refused_and_changes_nothing) {
    two_dispatches();
    const auto second = Store::open(folder_ / "a.db", OpenMode::read_write);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code, ErrorCode::already_exists);
    EXPECT_EQ(count("SELECT count(*) FROM jobs WHERE state = 'running'"), 2);
}

}  // namespace
}  // namespace bitsweep
