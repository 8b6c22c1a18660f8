// On a machine with a card: what is measured there, against what must hold on any card. Elsewhere:
// that the absence is a reason.
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "worker/inference/ceilings/ceilings.h"
#include "worker/metrics/device_monitor.h"
#include "worker/metrics/device_notes.h"
#include "worker/metrics/device_window.h"

namespace bitsweep {
namespace {

class Card : public ::testing::Test {
 protected:
    void SetUp() override {
        if (device_count() == 0) {
            GTEST_SKIP() << "no card here";
        }
    }
};

TEST(Device, ThatIsNotThereIsAReason) {
    const int absent = device_count();
    for (const int ordinal : {-1, absent}) {
        EXPECT_EQ(ErrorCode::unsupported, device_identity(ordinal).error().code);
        EXPECT_EQ(ErrorCode::unsupported, measured_ceilings(ordinal, nullptr).error().code);
        EXPECT_EQ(ErrorCode::unsupported, read_bandwidth_now(ordinal).error().code);
    }
}

TEST_F(Card, CeilingsAreOrderedAsPhysicsOrdersThem) {
    std::string notes;
    const auto ceilings = measured_ceilings(0, &notes);
    ASSERT_TRUE(ceilings) << ceilings.error().message;
    EXPECT_GT(ceilings->read_bandwidth, 1e11);  // a T4 has 3e11
    EXPECT_LT(ceilings->read_bandwidth, 2e13);
    EXPECT_NEAR(1, ceilings->copy_bandwidth / ceilings->read_bandwidth, 0.3);
    EXPECT_GT(ceilings->graph_node_ns, 100);
    EXPECT_LT(ceilings->graph_node_ns, ceilings->launch_ns);
    EXPECT_LT(ceilings->launch_ns, ceilings->round_trip_ns);
    EXPECT_GT(ceilings->fp16_flops, 1e13);
    EXPECT_GT(ceilings->int8_ops, ceilings->fp16_flops);
    EXPECT_LT(ceilings->seconds, 5);
    EXPECT_EQ("", notes);
    // The second call is the first one's answer.
    EXPECT_EQ(ceilings->read_bandwidth, measured_ceilings(0, nullptr)->read_bandwidth);
}

TEST_F(Card, FreshReadingOfTheBandwidthRepeatsTheCeiling) {
    const auto now = read_bandwidth_now(0);
    ASSERT_TRUE(now) << now.error().message;
    EXPECT_NEAR(1, *now / measured_ceilings(0, nullptr)->read_bandwidth, 0.05);
}

TEST_F(Card, WindowOfReadsHasClocksPowerMemoryAndEnergy) {
    const DeviceIdentity identity = *device_identity(0);
    DeviceMonitor monitor(identity.pci_bus_id);
    ASSERT_TRUE(read_bandwidth_now(0));
    monitor.note_context();
    monitor.begin();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    std::int64_t reads = 0;
    while (std::chrono::steady_clock::now() < until) {
        ASSERT_TRUE(read_bandwidth_now(0));
        ++reads;
    }
    const DeviceRecord record = monitor.end(reads);
    EXPECT_EQ(identity.name, *record.facts.name);
    EXPECT_GE(record.samples.size(), 20u);
    EXPECT_LE(record.samples.size(), 35u);
    ASSERT_TRUE(record.after.process_bytes) << record.after.process_bytes.error().message;
    EXPECT_EQ(*record.context.process_bytes, *record.after.process_bytes);  // all given back
    ASSERT_TRUE(record.after.foreign);
    const auto energy = window_energy(record);
    ASSERT_TRUE(energy) << energy.error().message;
    const double watts = energy->joules / energy->seconds;
    EXPECT_GT(watts, 15);
    EXPECT_LT(watts, *record.facts.power_limit_w * 1.1);
}

}  // namespace
}  // namespace bitsweep
