// The real thing on loopback: socket, keys, SQLite. A coordinator in a thread, peers in the test.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <thread>

#include "coordinator/server/server.h"
#include "coordinator/transport/keys.h"
#include "results/store/store.h"
#include "tests/temp_folder.h"
#include "worker/agent/dealer.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// Runs a coordinator until it goes out of scope.
class Hosted {
 public:
    explicit Hosted(const ServerOptions& options) {
        Result<std::unique_ptr<Server>> made = Server::create(options);
        if (!made) {
            ADD_FAILURE() << made.error().message;
            return;
        }
        server_ = std::move(made).value();
        thread_ = std::thread([this] { ended_ok_ = server_->run(stop_).ok(); });
    }
    ~Hosted() { stop(); }
    void stop() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
            EXPECT_TRUE(ended_ok_);
        }
        server_.reset();
    }
    bool running() const { return server_ != nullptr; }
    std::string endpoint() const { return server_->endpoint(); }

 private:
    std::unique_ptr<Server> server_;
    std::thread thread_;
    std::atomic<bool> stop_{false};
    std::atomic<bool> ended_ok_{false};
};

class HostedServerTest : public ::testing::Test {
 protected:
    void SetUp() override {
        options_.db = folder_ / "test.db";
        options_.keys = folder_ / "keys";
        options_.heartbeat = Duration{100};
        options_.lease = Duration{2'000};
        options_.backoff = Duration{50};
        const Status made = ensure_server_keys(options_.keys);
        ASSERT_TRUE(made.ok());
    }

    std::unique_ptr<Dealer> connect(const std::string& name, Role role,
                                    const std::string& endpoint) {
        const fs::path file = options_.keys / "access" / (name + ".json");
        if (!fs::exists(file)) {
            EXPECT_TRUE(new_access(options_.keys, name, role, endpoint).ok());
        }
        Result<Access> access = read_access(file);
        EXPECT_TRUE(access.ok());
        access->coordinator = endpoint;
        Result<std::unique_ptr<Dealer>> dealer = Dealer::connect(*access);
        EXPECT_TRUE(dealer.ok());
        return std::move(dealer).value();
    }

    // Waits for a message of this type and drops others; nullopt after 10 s.
    template <class Wanted>
    static std::optional<Wanted> await(Dealer& dealer) {
        for (int i = 0; i < 100; ++i) {
            auto message = dealer.receive(Duration{100});
            if (message && *message && std::holds_alternative<Wanted>(**message)) {
                return std::get<Wanted>(**message);
            }
        }
        return std::nullopt;
    }

    static Hello hello(std::vector<RunningJob> running = {}) {
        Hello hello;
        hello.worker = WorkerName{"w1"};
        hello.session = SessionId{"session-1"};
        hello.models = {"m"};
        DeviceInfo cpu;
        cpu.id = cpu.kind = cpu.name = "cpu";
        hello.devices = {cpu};
        hello.running = std::move(running);
        return hello;
    }

    static Submit submission(int cells) {
        Submit submit;
        submit.experiment = ExperimentName{"sweep"};
        submit.yaml = "experiment: sweep";
        for (int i = 0; i < cells; ++i) {
            Cell cell;
            cell.spec.model.name = "m";
            cell.spec.method = "fp16";
            cell.spec.seed = static_cast<std::uint64_t>(i);
            submit.cells.push_back(cell);
        }
        return submit;
    }

    static ResultDelivery result_of(const Dispatch& dispatch,
                                    OutcomeClass outcome = OutcomeClass::done) {
        ResultDelivery delivery{SessionId{"session-1"}, {}};
        delivery.result.key = dispatch.key;
        delivery.result.attempt = dispatch.attempt;
        delivery.result.outcome.outcome = outcome;
        delivery.result.weights_digest = std::string(64, 'a');
        return delivery;
    }

    std::int64_t count(const std::string& sql) {
        auto store = Store::open(options_.db, OpenMode::read_only);
        EXPECT_TRUE(store.ok());
        auto table = store.value()->query(sql);
        EXPECT_TRUE(table.ok()) << table.error().message;
        return table.ok() ? table->rows.at(0).at(0).integer : -1;
    }

    TempFolder folder_;
    ServerOptions options_;
};

TEST_F(HostedServerTest, runs_a_sweep_over_the_wire_and_continues_after_a_restart) {
    auto server = std::make_unique<Hosted>(options_);
    ASSERT_TRUE(server->running());
    auto client = connect("client", Role::submit, server->endpoint());
    auto worker = connect("worker", Role::work, server->endpoint());
    ASSERT_TRUE(worker->send(hello()).ok());
    ASSERT_TRUE(await<Welcome>(*worker));
    ASSERT_TRUE(client->send(submission(3)).ok());
    const auto submitted = await<Submitted>(*client);
    ASSERT_TRUE(submitted);
    EXPECT_EQ(submitted->new_cells, 3);

    const auto first = await<Dispatch>(*worker);
    ASSERT_TRUE(first);
    EXPECT_TRUE(first->weights_digest.empty());
    ASSERT_TRUE(worker->send(result_of(*first, OutcomeClass::crash)).ok());
    ASSERT_TRUE(await<ResultAck>(*worker));
    const auto second = await<Dispatch>(*worker);
    ASSERT_TRUE(second);
    ASSERT_TRUE(worker->send(result_of(*second)).ok());
    ASSERT_TRUE(await<ResultAck>(*worker));
    const auto third = await<Dispatch>(*worker);
    ASSERT_TRUE(third);
    EXPECT_EQ(third->weights_digest, std::string(64, 'a'));

    server = nullptr;  // stops; "third" is still running on the worker
    server = std::make_unique<Hosted>(options_);
    ASSERT_TRUE(server->running());
    worker = connect("worker", Role::work, server->endpoint());
    client = connect("client", Role::submit, server->endpoint());
    ASSERT_TRUE(worker->send(hello({{third->key, third->attempt}})).ok());
    ASSERT_TRUE(await<Welcome>(*worker));
    ASSERT_TRUE(worker->send(result_of(*third)).ok());
    ASSERT_TRUE(await<ResultAck>(*worker));
    const auto again = await<Dispatch>(*worker);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->weights_digest, std::string(64, 'a')) << "bindings survive a restart";
    ASSERT_TRUE(worker->send(result_of(*again)).ok());
    ASSERT_TRUE(await<ResultAck>(*worker));

    ASSERT_TRUE(client->send(submission(3)).ok());
    const auto resubmitted = await<Submitted>(*client);
    ASSERT_TRUE(resubmitted);
    EXPECT_EQ(resubmitted->new_cells, 0);
    EXPECT_EQ(resubmitted->done, 3);
    ASSERT_TRUE(client->send(StatusRequest{}).ok());
    const auto status = await<StatusReply>(*client);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->experiments.at(0).jobs.at("done"), 3);
    EXPECT_EQ(status->experiments.at(0).retries.at("crash on worker w1"), 1)
        << "why jobs were done again survives a restart";
    EXPECT_EQ(count("SELECT count(*) FROM runs WHERE outcome = 'done'"), 3);
    EXPECT_EQ(count("SELECT count(*) FROM runs WHERE outcome = 'crash'"), 1);
    EXPECT_EQ(count("SELECT count(*) FROM jobs WHERE state = 'done'"), 3);
}

TEST_F(HostedServerTest, a_submission_in_pieces_is_there_with_the_last_and_half_of_one_never) {
    const Hosted server(options_);
    ASSERT_TRUE(server.running());
    const auto piece = [](const Submit& whole, std::size_t first, std::size_t end) {
        Submit one = whole;
        one.cells.assign(whole.cells.begin() + static_cast<std::ptrdiff_t>(first),
                         whole.cells.begin() + static_cast<std::ptrdiff_t>(end));
        one.piece = static_cast<std::int64_t>(first / 10);
        one.continues = end < whole.cells.size();
        return one;
    };
    Submit abandoned = submission(30);
    abandoned.experiment = ExperimentName{"abandoned"};
    auto killed = connect("client", Role::submit, server.endpoint());
    for (const std::size_t first : {0u, 10u}) {
        ASSERT_TRUE(killed->send(piece(abandoned, first, first + 10)).ok());
        ASSERT_TRUE(await<Submitted>(*killed));
    }
    killed = nullptr;

    auto client = connect("client", Role::submit, server.endpoint());
    const Submit whole = submission(25);
    ASSERT_TRUE(client->send(piece(whole, 0, 10)).ok());
    EXPECT_EQ(await<Submitted>(*client).value_or(Submitted{}).cells, 10);
    ASSERT_TRUE(client->send(piece(whole, 10, 20)).ok());
    EXPECT_EQ(await<Submitted>(*client).value_or(Submitted{}).cells, 20);
    EXPECT_EQ(count("SELECT count(*) FROM jobs"), 0);
    ASSERT_TRUE(client->send(piece(whole, 20, 25)).ok());
    EXPECT_EQ(await<Submitted>(*client).value_or(Submitted{}).new_cells, 25);
    EXPECT_EQ(count("SELECT count(*) FROM jobs"), 25);
    EXPECT_EQ(count("SELECT count(*) FROM experiments"), 1);
}

TEST_F(HostedServerTest, a_peer_with_a_reading_key_gets_status_and_nothing_else) {
    const Hosted server(options_);
    ASSERT_TRUE(server.running());
    auto reader = connect("reader", Role::read, server.endpoint());
    ASSERT_TRUE(reader->send(submission(1)).ok());
    const auto refusal = await<Refusal>(*reader);
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->code, ErrorCode::refused);
    ASSERT_TRUE(reader->send(StatusRequest{}).ok());
    const auto status = await<StatusReply>(*reader);
    ASSERT_TRUE(status);
    EXPECT_TRUE(status->experiments.empty());
}

TEST_F(HostedServerTest, a_shutdown_of_a_client_ends_it) {
    std::atomic<bool> never{false};
    auto server = Server::create(options_);
    ASSERT_TRUE(server.ok()) << server.error().message;
    std::thread thread([&] { EXPECT_TRUE(server.value()->run(never).ok()); });
    auto client = connect("client", Role::submit, server.value()->endpoint());
    EXPECT_TRUE(client->send(Shutdown{}).ok());
    thread.join();
}

TEST_F(HostedServerTest, a_second_coordinator_of_one_database_or_one_port_is_refused) {
    const Hosted server(options_);
    ASSERT_TRUE(server.running());
    auto second = Server::create(options_);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code, ErrorCode::already_exists);
    ServerOptions same_port = options_;
    same_port.db = folder_ / "other.db";
    same_port.listen = server.endpoint();
    auto third = Server::create(same_port);
    ASSERT_FALSE(third.ok());
    EXPECT_EQ(third.error().code, ErrorCode::already_exists);
    EXPECT_NE(third.error().message.find("in use"), std::string::npos);
}

TEST_F(HostedServerTest, beyond_loopback_it_does_not_start_without_keys) {
    ServerOptions open = options_;
    open.keys.clear();
    open.listen = "tcp://0.0.0.0:0";
    auto server = Server::create(open);
    ASSERT_FALSE(server.ok());
    EXPECT_EQ(server.error().code, ErrorCode::refused);
}

}  // namespace
}  // namespace bitsweep
