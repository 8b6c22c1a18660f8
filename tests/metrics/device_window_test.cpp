#include "worker/metrics/device_window.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "worker/metrics/device_notes.h"
#include "worker/metrics/metric.h"

namespace bitsweep {
namespace {

constexpr std::int64_t second = 1'000'000'000;

// Ten quiet seconds: 100 samples at 1980 MHz, 50 C, 400 W; 4,000 tokens.
DeviceRecord quiet_window() {
    DeviceRecord record;
    record.before.at_ns = 5 * second;
    record.after.at_ns = 15 * second;
    record.before.energy_mj = std::uint64_t{1'000'000};
    record.after.energy_mj = std::uint64_t{5'000'000};
    record.energy_period_s = 0.1;
    record.tokens = 4000;
    record.before.foreign = std::vector<DeviceProcess>{};
    record.after.foreign = std::vector<DeviceProcess>{};
    for (int i = 1; i <= 100; ++i) {
        record.samples.push_back({.at_ns = 5 * second + i * second / 10,
                                  .sm_mhz = 1980,
                                  .memory_mhz = 2619,
                                  .temperature_c = 50,
                                  .power_w = 400,
                                  .throttle = 0});
    }
    return record;
}

std::map<std::string, double> values_of(const DeviceRecord& record) {
    const Trace trace;
    std::map<std::string, double> values;
    for (const Measurement& one :
         measure({.trace = trace, .ledger = {.weight_codes = 100}, .device = &record})) {
        values[one.metric] = one.value;
    }
    return values;
}

TEST(Window, QuietOneCounts) {
    const WindowVerdict verdict = judge_window(quiet_window());
    EXPECT_TRUE(verdict.counts());
    EXPECT_EQ(false, verdict.throttled);
    EXPECT_EQ(false, verdict.foreign_process);
    EXPECT_EQ(false, verdict.clock_drift);
    EXPECT_EQ(false, verdict.temperature_drift);
}

TEST(Window, IsThrottledWhenMoreThanATenthOfItsSamplesAreSlowed) {
    DeviceRecord record = quiet_window();
    for (int i = 0; i < 10; ++i) {
        record.samples[static_cast<std::size_t>(i)].throttle = 0x4;
    }
    EXPECT_EQ(false, judge_window(record).throttled);
    record.samples[10].throttle = 0x40;
    const WindowVerdict verdict = judge_window(record);
    EXPECT_EQ(true, verdict.throttled);
    ASSERT_EQ(1u, verdict.findings.size());
    EXPECT_EQ("throttled in 11 of 100 samples: sw_power_cap, hw_thermal_slowdown",
              verdict.findings[0]);
}

TEST(Window, IdleAndChosenClocksAreNoThrottling) {
    DeviceRecord record = quiet_window();
    for (DeviceSample& sample : record.samples) {
        sample.throttle = 0x1 | 0x2 | 0x100;
    }
    EXPECT_EQ(false, judge_window(record).throttled);
    EXPECT_EQ("gpu_idle, applications_clocks_setting, display_clock_setting",
              device_notes(record).at("throttle_reasons"));
}

TEST(Window, ForeignProcessAtEitherEndSpoilsIt) {
    for (const bool at_end : {false, true}) {
        DeviceRecord record = quiet_window();
        (at_end ? record.after : record.before).foreign =
            std::vector<DeviceProcess>{{4242, 3ull << 20}};
        const WindowVerdict verdict = judge_window(record);
        EXPECT_EQ(true, verdict.foreign_process);
        EXPECT_EQ("1 other processes on the card, the first is 4242 with 3 MiB",
                  verdict.findings.at(0));
        EXPECT_DOUBLE_EQ(1, values_of(record).at("foreign_processes"));
    }
}

TEST(Window, WithoutAProcessListNobodyClaimsThatItWasAlone) {
    DeviceRecord record = quiet_window();
    record.after.foreign = not_read();
    const WindowVerdict verdict = judge_window(record);
    EXPECT_FALSE(verdict.foreign_process);
    EXPECT_TRUE(verdict.counts());
    EXPECT_FALSE(values_of(record).contains("window_foreign_process"));
}

TEST(Window, ClockDriftBeginsAboveFivePercent) {
    DeviceRecord record = quiet_window();
    record.samples[50].sm_mhz = 1980 * 0.951;
    EXPECT_EQ(false, judge_window(record).clock_drift);
    record.samples[50].sm_mhz = 1980 * 0.949;
    EXPECT_EQ(true, judge_window(record).clock_drift);
    EXPECT_EQ("SM clock from 1879 to 1980 MHz", judge_window(record).findings.at(0));
}

TEST(Window, TemperatureDriftIsFromItsFirstToItsLastSample) {
    DeviceRecord record = quiet_window();
    record.samples[50].temperature_c = 80;  // between them
    EXPECT_EQ(false, judge_window(record).temperature_drift);
    record.samples.back().temperature_c = 61;
    EXPECT_EQ(true, judge_window(record).temperature_drift);
    record.samples.back().temperature_c = 39;
    EXPECT_EQ(true, judge_window(record).temperature_drift);
}

TEST(Window, WithoutSamplesHasNoVerdict) {
    DeviceRecord record = quiet_window();
    record.samples.clear();
    const WindowVerdict verdict = judge_window(record);
    EXPECT_FALSE(verdict.throttled);
    EXPECT_FALSE(verdict.clock_drift);
    EXPECT_FALSE(verdict.temperature_drift);
    EXPECT_FALSE(values_of(record).contains("window_throttled"));
}

TEST(Energy, IsTheCountersDifferencePerToken) {
    const auto values = values_of(quiet_window());
    EXPECT_DOUBLE_EQ(1000, values.at("energy_per_token"));  // 4,000 J over 4,000 tokens
    EXPECT_DOUBLE_EQ(400, values.at("mean_power"));
    EXPECT_DOUBLE_EQ(0.02, values.at("energy_resolution"));
    EXPECT_EQ("window 10.00 s, resolution 2.0 %; counter, new every 0.100 s",
              device_notes(quiet_window()).at("energy"));
}

TEST(Energy, OfAWindowTooShortForTheCounterIsNotAvailableAndSaysHowLongOneMustBe) {
    DeviceRecord record = quiet_window();
    record.after.at_ns = record.before.at_ns + second / 2;
    const Reading<WindowEnergy> energy = window_energy(record);
    ASSERT_FALSE(energy);
    EXPECT_NE(std::string::npos, energy.error().message.find("2.0 s or more"))
        << energy.error().message;
    EXPECT_FALSE(values_of(record).contains("energy_per_token"));
    EXPECT_FALSE(values_of(record).contains("mean_power"));
}

TEST(Energy, WithoutACounterComesFromPowerSamplesOfALongWindow) {
    DeviceRecord record = quiet_window();
    record.before.energy_mj = make_error(ErrorCode::unsupported, "Not Supported");
    EXPECT_FALSE(window_energy(record));  // 2 s of averaging in 10 s
    record.after.at_ns = record.before.at_ns + 40 * second;
    const Reading<WindowEnergy> energy = window_energy(record);
    ASSERT_TRUE(energy);
    EXPECT_DOUBLE_EQ(16000, energy->joules);
    EXPECT_DOUBLE_EQ(0.05, energy->resolution);
    EXPECT_NE(std::string::npos, energy->source.find("Not Supported"));
}

TEST(Energy, CounterThatWentBackwardsIsNotUsed) {
    DeviceRecord record = quiet_window();
    record.after.energy_mj = std::uint64_t{1};
    EXPECT_FALSE(window_energy(record));
}

TEST(Energy, PerTokenNeedsTokens) {
    DeviceRecord record = quiet_window();
    record.tokens = 0;
    EXPECT_FALSE(values_of(record).contains("energy_per_token"));
    EXPECT_DOUBLE_EQ(400, values_of(record).at("mean_power"));
}

TEST(Energy, OfTheCpuIsItsOwnRow) {
    DeviceRecord record = quiet_window();
    record.cpu_energy_j = 800.0;
    EXPECT_DOUBLE_EQ(200, values_of(record).at("cpu_energy_per_token"));
    EXPECT_EQ("RAPL, all packages", device_notes(record).at("cpu_energy"));
}

TEST(Energy, OfTheCpuAloneIsOverTheMeasuredSequences) {
    Trace trace;
    trace.sequences.push_back({.batch = 2, .token_ns = {1, 1, 1}});
    MetricInput input{.trace = trace, .cpu_energy_j = 4};
    std::map<std::string, double> values;
    for (const Measurement& one : measure(input)) {
        values[one.metric] = one.value;
    }
    EXPECT_DOUBLE_EQ(500, values.at("cpu_energy_per_token"));  // 4 J over 8 tokens
    input.cpu_energy_j = std::nullopt;
    for (const Measurement& one : measure(input)) {
        EXPECT_NE("cpu_energy_per_token", one.metric);
    }
}

TEST(Throttling, TimeComesFromCountersAndElseFromSamples) {
    DeviceRecord record = quiet_window();
    record.samples[3].throttle = record.samples[4].throttle = 0x8;
    EXPECT_DOUBLE_EQ(0.2, *slowed_seconds(record));  // 2 % of 10 s
    record.before.power_slowed_ns = std::uint64_t{1'000};
    record.after.power_slowed_ns = std::uint64_t{1'000 + 500'000'000};
    record.before.thermal_slowed_ns = record.after.thermal_slowed_ns = std::uint64_t{9};
    EXPECT_DOUBLE_EQ(0.5, *slowed_seconds(record));
    EXPECT_DOUBLE_EQ(0.5, values_of(record).at("throttle_s"));
}

TEST(Memory, GapIsWhatNeitherContextNorLedgerExplain) {
    DeviceRecord record = quiet_window();
    EXPECT_FALSE(values_of(record).contains("device_memory_gap_bytes"));
    record.context.process_bytes = std::uint64_t{500};
    record.after.process_bytes = std::uint64_t{610};
    EXPECT_DOUBLE_EQ(610, values_of(record).at("device_memory_bytes"));
    EXPECT_DOUBLE_EQ(10, values_of(record).at("device_memory_gap_bytes"));
    record.after.process_bytes = std::uint64_t{590};
    EXPECT_DOUBLE_EQ(-10, values_of(record).at("device_memory_gap_bytes"));
}

TEST(Memory, OfAllProcessesServesWhereNvmlHidesOurs) {
    DeviceRecord record = quiet_window();
    record.context.used_bytes = std::uint64_t{1000};
    record.after.used_bytes = std::uint64_t{1104};
    EXPECT_DOUBLE_EQ(4, values_of(record).at("device_memory_gap_bytes"));
    EXPECT_EQ("NVML, all processes of the card", device_notes(record).at("device_memory"));
}

TEST(RawSamples, OfTheCardAreKeptUpToABound) {
    const Trace trace;
    DeviceRecord record = quiet_window();
    record.samples[0].power_w = std::nullopt;
    std::map<std::string, std::size_t> sizes;
    for (const SampleSeries& series : raw_samples({.trace = trace, .device = &record})) {
        sizes[series.metric] = series.values.size();
    }
    EXPECT_EQ(99u, sizes["gpu_power"]);
    EXPECT_EQ(100u, sizes["gpu_sm_clock"]);
    EXPECT_EQ(100u, sizes["gpu_temperature"]);
    record.samples.resize(most_raw_device_samples + 1);
    EXPECT_TRUE(raw_samples({.trace = trace, .device = &record}).empty());
}

TEST(Ceilings, AreRowsWhereTheyWereMeasuredAndGiveThePrefillItsShare) {
    Trace trace;
    trace.sequences.push_back({.prompt_tokens = 512, .prefill_ns = 10'000'000});
    const DeviceCeilings ceilings{
        .copy_bandwidth = 3e12, .graph_node_ns = 550, .fp16_flops = 7e14, .int8_ops = 0};
    MetricInput input{.trace = trace, .ceilings = &ceilings, .prefill_operations = 3.5e12};
    std::map<std::string, double> values;
    const auto read = [&] {
        values.clear();
        for (const Measurement& one : measure(input)) {
            values[one.metric] = one.value;
        }
    };
    read();
    EXPECT_DOUBLE_EQ(3e12, values.at("copy_bandwidth"));
    EXPECT_DOUBLE_EQ(550, values.at("graph_node_latency"));
    EXPECT_DOUBLE_EQ(3.5e14, values.at("prefill_products"));
    EXPECT_DOUBLE_EQ(0.5, values.at("prefill_products_share"));
    EXPECT_FALSE(values.contains("int8_products"));
    EXPECT_FALSE(values.contains("launch_latency"));
    input.int8_products = true;  // its ceiling was not measured
    read();
    EXPECT_FALSE(values.contains("prefill_products_share"));
}

}  // namespace
}  // namespace bitsweep
