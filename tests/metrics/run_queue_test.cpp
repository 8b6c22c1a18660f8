#include "worker/metrics/run_queue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/metrics/busy_neighbour.h"
#include "tests/temp_folder.h"
#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

class RunQueue : public ::testing::Test {
 protected:
    void thread(const std::string& id, const std::string& schedstat) const {
        fs::create_directories(folder_ / id);
        std::ofstream(folder_ / id / "schedstat") << schedstat << "\n";
    }
    RunQueueTimes read() const {
        auto times = read_run_queue(folder_);
        EXPECT_TRUE(times) << times.error().message;
        return times ? *times : RunQueueTimes{};
    }
    TempFolder folder_;
};

TEST_F(RunQueue, AddsTheThreadsUpWhetherTheyCameOrWent) {
    thread("10", "1000000000 100000000 7");
    thread("11", "5 5 1");
    RunQueueTimes before = read();
    thread("10", "1500000000 300000000 9");  // ran 0.5 s, waited 0.2 s
    thread("12", "250000000 50000000 2");    // is new
    fs::remove_all(folder_ / "11");          // has ended
    RunQueueTimes after = read();
    after.at_ns = before.at_ns + 1'000'000'000;
    const CoreWait wait = core_wait_between(before, after);
    EXPECT_DOUBLE_EQ(wait.ran_s, 0.75);
    EXPECT_DOUBLE_EQ(wait.waited_s, 0.25);
    EXPECT_DOUBLE_EQ(wait.share(), 0.25);
    EXPECT_GE(wait.cores, 1);
}

TEST_F(RunQueue, SaysWhyItCannotBeRead) {
    thread("10", "");
    for (const fs::path& folder : {folder_.path(), folder_ / "nothing"}) {
        const auto times = read_run_queue(folder);
        ASSERT_FALSE(times);
        EXPECT_EQ(times.error().code, ErrorCode::unavailable);
        EXPECT_NE(times.error().message.find("schedstat"), std::string::npos);
    }
}

TEST_F(RunQueue, AWindowCountsUpToTheBoundAndIsNotJudgedWhereItsOwnThreadsAreTooMany) {
    EXPECT_EQ(is_foreign_load({1, 0.96, 0.04, 1}), false);
    EXPECT_EQ(is_foreign_load({1, 0.94, 0.06, 1}), true);
    EXPECT_EQ(is_foreign_load({2, 3.6, 0.4, 2}), true) << "each of two threads waits a tenth";
    EXPECT_EQ(is_foreign_load({1, 2.0, 2.0, 2}), std::nullopt) << "four threads of its own";
    EXPECT_EQ(is_foreign_load({0, 0, 0, 2}), std::nullopt);
    EXPECT_EQ(is_foreign_load({0.010, 0.0085, 0.0015, 1}), false) << "less than one turn";
    EXPECT_EQ(is_foreign_load({0.010, 0.0070, 0.0030, 1}), true);
    EXPECT_EQ(core_wait_words({1, 0.96, 0.04, 1}), "counts");
    EXPECT_EQ(core_wait_words({2, 1, 1, 1}),
              "its threads waited 1.00 s for cores that others used, in 2.00 s");
    EXPECT_EQ(core_wait_words({1, 2, 2, 2}),
              "counts; its threads waited 2.00 s for each other's cores, in 1.00 s");
}

TEST_F(RunQueue, AWindowBesideABusyProcessIsFlaggedOnACpuAndNotOnACard) {
    if (!read_run_queue()) {
        GTEST_SKIP() << read_run_queue().error().message;
    }
    CoreWait wait;
    {
        const BusyNeighbour neighbour;
        const RunQueueTimes before = read_run_queue().value();
        compute_for(std::chrono::milliseconds(300));
        wait = core_wait_between(before, read_run_queue().value());
    }
    // Half of the core is the neighbour's; the scheduler's fairness is exact to a slice or two.
    EXPECT_GT(wait.share(), 0.3);
    EXPECT_LE(wait.share(), 1);
    EXPECT_EQ(wait.cores, 1);
    Trace trace;
    MetricInput input{.trace = trace, .core_wait = wait};
    EXPECT_EQ(window_foreign_load(input), 1);
    EXPECT_EQ(run_queue_wait_share(input), wait.share());
    const DeviceRecord card;
    input.device = &card;
    EXPECT_EQ(window_foreign_load(input), std::nullopt);
    input.core_wait.reset();
    EXPECT_EQ(run_queue_wait_share(input), std::nullopt);
}

}  // namespace
}  // namespace bitsweep
