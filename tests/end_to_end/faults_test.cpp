// Networks that fail between coordinator and worker: cut, silent, slow, reset. Every cell has one
// result at the end, whatever happened on the way.
#include <signal.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/end_to_end/cluster.h"
#include "tests/end_to_end/proxy.h"

namespace bitsweep {

namespace {

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

class Network : public Cluster {
 protected:
    void SetUp() override {
        Cluster::SetUp();
        serve();
        proxy_.emplace(url_);
    }
    std::optional<Proxy> proxy_;
};

TEST_F(Network, ASilenceShorterThanTheLeaseCostsNothing) {
    write_experiment("quiet", 300, 1);
    const auto only = worker("only", proxy_->url());
    const auto client = submit("quiet");
    ASSERT_TRUE(reaches(done_count, 1, 15)) << client->err();
    proxy_->partition(true);
    sleep_ms(1'200);
    proxy_->partition(false);
    EXPECT_EQ(client->wait(40), 0) << client->err() << only->err();
    expect_each_cell_once(8);
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1);
}

TEST_F(Network, AfterALongPartitionTheOtherWorkerHasDoneTheJobAndTheLateResultChangesNothing) {
    write_experiment("cut", 400, 1);
    const auto far = worker("far", proxy_->url());
    const auto client = submit("cut");
    ASSERT_TRUE(reaches(running_count, 1, 15)) << client->err();
    ASSERT_TRUE(far->says("on cpu", 10));
    proxy_->partition(true);
    ASSERT_TRUE(far->says(" done", 10)) << "a worker goes on without its coordinator";
    const auto near = worker("near");
    EXPECT_EQ(client->wait(40), 0) << client->err() << server_->err();
    const auto before = done();
    proxy_->partition(false);
    EXPECT_TRUE(far->says("connected again", 25)) << far->err();
    sleep_ms(500);
    EXPECT_EQ(done(), before);
    expect_each_cell_once(8);
    // Its outbox empties: a result that does not count is acknowledged all the same.
    far->signal(SIGTERM);
    EXPECT_EQ(far->wait(10), 0) << far->err();
    const auto again = worker("far");
    EXPECT_EQ(again->err().find("of an earlier life"), std::string::npos) << again->err();
}

TEST_F(Network, ASlowNetworkIsOnlySlow) {
    write_experiment("slow", 50, 1);
    proxy_->delay(150);
    const auto only = worker("only", proxy_->url());
    const auto client = submit("slow");
    EXPECT_EQ(client->wait(40), 0) << client->err();
    expect_each_cell_once(8);
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1);
}

TEST_F(Network, ConnectionsThatAreResetAgainAndAgainLoseNothing) {
    write_experiment("reset", 60, 4);
    const auto only = worker("only", proxy_->url());
    const auto client = submit("reset");
    std::mt19937 random(1);
    for (int i = 0; i < 10 && client->running(); ++i) {
        sleep_ms(100 + static_cast<int>(random() % 200));
        proxy_->reset_all();
    }
    // Not a word of libzmq's own heartbeat, which takes 40 s to see that a connection is dead.
    EXPECT_EQ(client->wait(30), 0) << client->err() << only->err();
    expect_each_cell_once(32);
}

TEST_F(Network, AConnectionThatARouterForgotIsGivenUpForANewOne) {
    write_experiment("forgotten", 300, 1);
    const auto only = worker("only", proxy_->url());
    const auto client = submit("forgotten");
    ASSERT_TRUE(reaches(done_count, 1, 15)) << client->err();
    proxy_->forget_all();
    EXPECT_TRUE(only->says("no answer on a connection that stands; connecting anew", 20))
        << only->err();
    EXPECT_EQ(client->wait(30), 0) << client->err() << only->err();
    expect_each_cell_once(8);
}

TEST_F(Network, ACoordinatorAtAnotherAddressIsFoundThroughItsAccessFile) {
    write_experiment("moved", 300, 1);
    const auto only = worker("only");
    const auto client = submit("moved");
    ASSERT_TRUE(reaches(done_count, 1, 15)) << client->err();
    client->signal(SIGTERM);
    client->wait(5);
    const std::string before = url_;
    kill_server();
    serve();  // any free port
    ASSERT_NE(url_, before);
    EXPECT_TRUE(only->says("connected again", 15)) << only->err();
    EXPECT_EQ(submit("moved")->wait(40), 0);
    expect_each_cell_once(8);
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1);
}

TEST_F(Network, ARevokedWorkerIsLockedOutAndAnotherOneDoesItsJob) {
    write_experiment("revoked", 500, 1);
    ASSERT_EQ(bitsweep(folder_, {"keys", "new", "guest", "--role", "work"}).code, 0);
    const auto guest = start_worker("guest", {"--access", "bitsweep.db.keys/access/guest.json"});
    ASSERT_TRUE(guest->says("waiting for jobs", 10)) << guest->err();
    const auto client = submit("revoked");
    ASSERT_TRUE(reaches(running_count, 1, 15)) << client->err();
    ASSERT_EQ(bitsweep(folder_, {"keys", "revoke", "guest"}).code, 0);
    EXPECT_EQ(guest->wait(15), 3) << guest->err();
    const auto other = worker("other");
    EXPECT_EQ(client->wait(40), 0) << client->err();
    expect_each_cell_once(8);
}

}  // namespace
}  // namespace bitsweep
