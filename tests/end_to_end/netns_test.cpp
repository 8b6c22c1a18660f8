// Network namespaces as machines: a hub with the coordinator and three workers, each behind a link
// of its own that can be cut. Needs root; says so and skips otherwise.
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/end_to_end/cluster.h"

namespace bitsweep {

namespace {

constexpr const char* first_address = "10.213.77.1";
constexpr const char* second_address = "10.213.77.2";
const std::vector<std::string> names = {"one", "two", "three"};

class Machines : public Cluster {
 protected:
    void SetUp() override {
        Cluster::SetUp();
        made_ = geteuid() == 0 && ip("netns add " + ns("hub"));
        if (!made_) {
            GTEST_SKIP() << "network namespaces need root and the program `ip`";
        }
        const std::string hub = "-n " + ns("hub") + " ";
        bool fine = ip(hub + "link set lo up") && ip(hub + "link add br0 type bridge") &&
                    ip(hub + "addr add " + first_address + "/24 dev br0") &&
                    ip(hub + "addr add " + second_address + "/24 dev br0") &&
                    ip(hub + "link set br0 up");
        for (std::size_t i = 0; i < names.size(); ++i) {
            const std::string there = "-n " + ns(names[i]) + " ";
            fine = fine && ip("netns add " + ns(names[i])) &&
                   ip(hub + "link add to-" + names[i] + " type veth peer name eth0 netns " +
                      ns(names[i])) &&
                   ip(hub + "link set to-" + names[i] + " master br0 up") &&
                   ip(there + "addr add 10.213.77.1" + std::to_string(i) + "/24 dev eth0") &&
                   ip(there + "link set eth0 up");
        }
        ASSERT_TRUE(fine);
        serve(std::string("tcp://") + first_address + ":7420");
    }

    void TearDown() override {
        server_.reset();
        if (made_) {
            for (const std::string& name : names) {
                ip("netns del " + ns(name));
            }
            ip("netns del " + ns("hub"));
        }
        Cluster::TearDown();
    }

    Words on(const std::string& machine, const Words& words) const override {
        Words all = {ip_program, "netns", "exec", ns(machine)};
        all.insert(all.end(), words.begin(), words.end());
        return all;
    }

    void cut(const std::string& name) {
        ASSERT_TRUE(ip("-n " + ns("hub") + " link set to-" + name + " down"));
    }
    void heal(const std::string& name) {
        ASSERT_TRUE(ip("-n " + ns("hub") + " link set to-" + name + " up"));
    }

 private:
    static constexpr const char* ip_program = "/usr/sbin/ip";

    static std::string ns(const std::string& machine) {
        return "bitsweep-" + std::to_string(getpid()) + "-" + machine;
    }
    static bool ip(const std::string& words) {
        return std::system((std::string(ip_program) + " " + words + " 2>/dev/null").c_str()) == 0;
    }

    bool made_ = false;
};

TEST_F(Machines, ACutLinkCostsOneLeaseAndItsHealingChangesNothing) {
    write_experiment("cut", 300, 2);
    std::vector<std::unique_ptr<Program>> workers;
    for (const std::string& name : names) {
        workers.push_back(worker(name));
    }
    const auto client = submit("cut");
    ASSERT_TRUE(reaches(running_count, 3, 15)) << client->err();
    cut("one");
    EXPECT_TRUE(workers[0]->says(" done", 10)) << "it goes on without its coordinator";
    EXPECT_EQ(client->wait(60), 0) << client->err() << server_->err();
    const auto before = done();
    heal("one");
    EXPECT_TRUE(workers[0]->says("connected again", 30)) << workers[0]->err();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_EQ(done(), before);
    expect_each_cell_once(16);
}

TEST_F(Machines, ACoordinatorThatMovesToAnotherAddressIsFoundByItsWorkers) {
    write_experiment("moved", 400, 1);
    const auto one = worker("one");
    const auto two = worker("two");
    const auto client = submit("moved");
    ASSERT_TRUE(reaches(done_count, 1, 15)) << client->err();
    client->signal(SIGTERM);
    client->wait(5);
    kill_server();
    serve(std::string("tcp://") + second_address + ":7420");
    EXPECT_TRUE(one->says("connected again", 30)) << one->err();
    EXPECT_TRUE(two->says("connected again", 30)) << two->err();
    EXPECT_EQ(submit("moved")->wait(40), 0);
    expect_each_cell_once(8);
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1);
}

}  // namespace
}  // namespace bitsweep
