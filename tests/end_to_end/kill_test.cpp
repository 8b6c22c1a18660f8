// SIGKILL of coordinator, workers and runners at random moments, each started again at once. The
// seed and the number of kills come from BITSWEEP_SEED and BITSWEEP_KILLS; a failure prints them.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <random>
#include <thread>

#include "tests/end_to_end/cluster.h"

namespace bitsweep {

namespace {

using Clock = std::chrono::steady_clock;

int number_from(const char* variable, int otherwise) {
    const char* text = getenv(variable);
    return text == nullptr ? otherwise : atoi(text);
}

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

class Kill : public Cluster {
 protected:
    void SetUp() override {
        Cluster::SetUp();
        serve();
        for (const char* name : {"one", "two"}) {
            workers_.push_back({name, worker(name)});
        }
    }

    struct NamedWorker {
        std::string name;
        std::unique_ptr<Program> process;
    };

    void kill_coordinator() {
        kill_server();
        const auto acknowledged = done();  // what the file holds now was committed before the kill
        const auto start = Clock::now();
        serve(url_);
        recoveries_.push_back(seconds_since(start));
        for (const auto& [job, attempt] : acknowledged) {
            stored_.emplace(job, attempt);
        }
    }

    void kill_worker(NamedWorker& victim) {
        victim.process->signal(SIGKILL);
        victim.process->wait(5);
        victim.process = start_worker(victim.name);
    }

    void kill_runner(NamedWorker& victim) {
        for (const pid_t runner : children_of(victim.process->pid())) {
            kill(runner, SIGKILL);
        }
    }

    void one_kill(std::mt19937& random) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50 + random() % 300));
        NamedWorker& victim = workers_[random() % workers_.size()];
        switch (random() % 5) {
            case 0:
            case 1:
                return kill_coordinator();
            case 2:
            case 3:
                return kill_worker(victim);
            default:
                return kill_runner(victim);
        }
    }

    void expect_nothing_lost() {
        const auto now = done();
        for (const auto& [job, attempt] : stored_) {
            const auto found = now.find(job);
            ASSERT_NE(found, now.end()) << "a stored result was lost: " << job;
            EXPECT_EQ(found->second, attempt) << "a stored result was replaced: " << job;
        }
    }

    std::vector<NamedWorker> workers_;
    std::map<std::string, std::int64_t> stored_;  // seen in the file after a kill
    std::vector<double> recoveries_;              // seconds from start to serving
};

TEST_F(Kill, AnythingAtAnyMomentAndEveryCellHasOneResult) {
    const int kills = number_from("BITSWEEP_KILLS", 20);
    const int seed = number_from("BITSWEEP_SEED", 1);
    SCOPED_TRACE("BITSWEEP_SEED=" + std::to_string(seed) +
                 " BITSWEEP_KILLS=" + std::to_string(kills));
    const int repeat = std::clamp(kills * 3 / 2, 30, 250);
    write_experiment("kill", 100, repeat);
    const auto client = submit("kill");
    ASSERT_TRUE(reaches(done_count, 1, 20)) << client->err();
    std::mt19937 random(static_cast<unsigned>(seed));
    int killed = 0;
    for (; killed < kills && client->running(); ++killed) {
        ASSERT_NO_FATAL_FAILURE(one_kill(random));
    }
    const auto start = Clock::now();
    EXPECT_EQ(client->wait(120), 0) << client->err() << server_->err();
    EXPECT_GE(killed, std::min(kills, 20)) << "the work ended before the kills did";
    expect_each_cell_once(8 * repeat);
    expect_nothing_lost();
    EXPECT_EQ(query("PRAGMA integrity_check").rows.at(0).at(0).text, "ok");
    EXPECT_TRUE(query("PRAGMA foreign_key_check").rows.empty());
    std::sort(recoveries_.begin(), recoveries_.end());
    if (!recoveries_.empty()) {
        std::cout << killed << " kills, " << recoveries_.size()
                  << " of the coordinator; from its start to serving: median "
                  << recoveries_[recoveries_.size() / 2] << " s, longest " << recoveries_.back()
                  << " s; the rest of the work took " << seconds_since(start) << " s\n";
    }
}

TEST_F(Kill, ARunningJobIsFinishedWithoutARestartWhenOnlyTheCoordinatorDies) {
    write_experiment("long", 1'500, 1);
    const auto client = submit("long");
    ASSERT_TRUE(reaches(running_count, 2, 20)) << client->err();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    kill_coordinator();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    kill_coordinator();
    EXPECT_EQ(client->wait(60), 0) << client->err();
    expect_each_cell_once(8);
    EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1);
}

}  // namespace
}  // namespace bitsweep
