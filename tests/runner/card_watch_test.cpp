#include "worker/runner/card_watch.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <new>
#include <thread>

#include "tests/metrics/fake_nvml.h"
#include "worker/metrics/metric.h"
#include "worker/runner/workload.h"

namespace bitsweep {
namespace {

using testing::FakeNvml;

// A card of 200 W whose energy counter moves every 10 ms.
FakeNvml& fake_card() {
    void* handle = ::dlopen(FAKE_NVML, RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(nullptr, handle) << ::dlerror();
    auto* state = reinterpret_cast<testing::FakeNvmlState>(::dlsym(handle, "fake_nvml_state"))();
    state->~FakeNvml();
    auto* fresh = new (state) FakeNvml;
    fresh->energy_period_s = 0.01;
    fresh->energy_step_mj = 2000;
    return *fresh;
}

// 20 ms and 2 x 8 tokens.
Result<Sequence> sequence() {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    Sequence one;
    one.trace = {.prompt_tokens = 4,
                 .batch = 2,
                 .prefill_ns = 1'000'000,
                 .token_ns = std::vector<std::int64_t>(7, 2'000'000)};
    one.new_ids = std::vector<std::int32_t>(8, 1);
    return one;
}

CardReport watched(DeviceMonitor& monitor, Protocol protocol, int* extra) {
    CardWatch card(monitor, {.read_bandwidth = 3e12}, {{"gpu_sm", "90"}});
    card.model_loaded();
    const auto run = run_workload({.warmup = 1, .least_sequences = 2, .most_sequences = 2},
                                  sequence, {}, [&] { card.window_begins(); });
    EXPECT_TRUE(run);
    auto report = card.window_ends(run->trace, protocol, [&] {
        ++*extra;
        return sequence();
    });
    EXPECT_TRUE(report) << (report ? "" : report.error().message);
    return *report;
}

TEST(CardWatch, CpuHasNone) {
    const auto card = watch_card(Device{});
    ASSERT_TRUE(card);
    EXPECT_FALSE(card->has_value());
}

TEST(CardWatch, ShortWindowRunsOnUntilTheEnergyHasItsResolution) {
    fake_card();
    DeviceMonitor monitor("0000:0f:00.0", FAKE_NVML);
    int extra = 0;
    const CardReport report = watched(monitor, Protocol::quick, &extra);
    const double window = report.record.seconds();
    EXPECT_GE(window, 0.9 * energy_periods(Protocol::quick) * 0.01);
    EXPECT_GE(extra, 5);
    EXPECT_EQ((2 + extra) * 16, report.record.tokens);
    const Trace trace;
    double per_token = 0;
    for (const Measurement& one : measure({.trace = trace, .device = &report.record})) {
        per_token = one.metric == "energy_per_token" ? one.value : per_token;
    }
    EXPECT_NEAR(200 * window * 1e3 / static_cast<double>(report.record.tokens), per_token,
                per_token * 0.12);
    EXPECT_EQ("90", report.notes.at("gpu_sm"));
    EXPECT_EQ("NVIDIA H100 80GB HBM3", report.notes.at("gpu_name"));
}

TEST(CardWatch, SeedsProtocolMeasuresAsTheSeedDidAndSaysThatEnergyNeedsMore) {
    fake_card();
    DeviceMonitor monitor("0000:0f:00.0", FAKE_NVML);
    int extra = 0;
    const CardReport report = watched(monitor, Protocol::seed_report, &extra);
    EXPECT_EQ(0, extra);
    EXPECT_EQ(32, report.record.tokens);
    EXPECT_NE(std::string::npos, report.notes.at("energy").find("too short"))
        << report.notes.at("energy");
}

TEST(CardWatch, WithoutNvmlNothingRunsOn) {
    DeviceMonitor monitor("0000:0f:00.0", "libnvidia-ml-that-is-not-here.so.1");
    int extra = 0;
    const CardReport report = watched(monitor, Protocol::headline, &extra);
    EXPECT_EQ(0, extra);
    EXPECT_TRUE(report.notes.at("gpu_driver").starts_with("not available"));
}

TEST(CardWatch, ErrorOfARepeatedSequenceIsItsOwn) {
    fake_card();
    DeviceMonitor monitor("0000:0f:00.0", FAKE_NVML);
    CardWatch card(monitor, {}, {});
    card.window_begins();
    const auto report = card.window_ends({}, Protocol::quick, []() -> Result<Sequence> {
        return make_error(ErrorCode::gpu_fault, "the card fell off the bus");
    });
    ASSERT_FALSE(report);
    EXPECT_EQ(ErrorCode::gpu_fault, report.error().code);
}

}  // namespace
}  // namespace bitsweep
