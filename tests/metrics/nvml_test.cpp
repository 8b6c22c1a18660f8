#include "worker/metrics/nvml.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <thread>

#include "tests/metrics/fake_nvml.h"
#include "worker/metrics/device_monitor.h"
#include "worker/metrics/device_notes.h"
#include "worker/metrics/device_window.h"
#include "worker/metrics/metric.h"
#include "worker/metrics/nvml_abi.h"

#if __has_include(<nvml.h>)
#include <nvml.h>
static_assert(sizeof(nvmlProcessInfo_t) == sizeof(bitsweep::nvml::ProcessInfo));
static_assert(sizeof(nvmlMemory_t) == sizeof(bitsweep::nvml::Memory));
static_assert(sizeof(nvmlViolationTime_t) == sizeof(bitsweep::nvml::ViolationTime));
static_assert(NVML_CLOCK_SM == bitsweep::nvml::clock_sm);
static_assert(NVML_CLOCK_MEM == bitsweep::nvml::clock_memory);
static_assert(NVML_PERF_POLICY_THERMAL == bitsweep::nvml::policy_thermal);
static_assert(NVML_MEMORY_ERROR_TYPE_UNCORRECTED == bitsweep::nvml::ecc_uncorrected);
#endif

namespace bitsweep {
namespace {

using testing::FakeNvml;

constexpr const char* bus_id = "0000:0f:00.0";
constexpr const char* absent_library = "libnvidia-ml-that-is-not-here.so.1";

// The loaded stand-in, its answers as new. It stays loaded, so that pointers into it stay good.
FakeNvml& fake(const char* library = FAKE_NVML) {
    void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(nullptr, handle) << ::dlerror();
    auto* state = reinterpret_cast<testing::FakeNvmlState>(::dlsym(handle, "fake_nvml_state"))();
    state->~FakeNvml();
    return *new (state) FakeNvml;
}

std::unique_ptr<NvmlDevice> opened(const char* library = FAKE_NVML) {
    auto device = NvmlDevice::open(bus_id, library);
    EXPECT_TRUE(device) << (device ? "" : device.error().message);
    return std::move(*device);
}

std::map<std::string, double> values_of(const DeviceRecord& record, const MemoryBytes& ledger) {
    const Trace trace;
    std::map<std::string, double> values;
    for (const Measurement& one : measure({.trace = trace, .ledger = ledger, .device = &record})) {
        values[one.metric] = one.value;
    }
    return values;
}

TEST(Nvml, AbsentLibraryIsAReasonAndNotAnError) {
    const auto device = NvmlDevice::open(bus_id, absent_library);
    ASSERT_FALSE(device);
    EXPECT_EQ(ErrorCode::unavailable, device.error().code);
    EXPECT_NE(std::string::npos, device.error().message.find("driver"));
    EXPECT_NE(std::string::npos, device.error().message.find(absent_library));
}

TEST(Nvml, LibraryThatIsSomethingElseIsAReason) {
    const auto device = NvmlDevice::open(bus_id, "libc.so.6");
    ASSERT_FALSE(device);
    EXPECT_NE(std::string::npos, device.error().message.find("nvmlInit_v2"));
}

TEST(Nvml, DriverThatIsNotLoadedIsAReasonWithNvmlsWords) {
    fake().init_code = 9;
    const auto device = NvmlDevice::open(bus_id, FAKE_NVML);
    ASSERT_FALSE(device);
    EXPECT_EQ("nvmlInit_v2: Driver Not Loaded", device.error().message);
    EXPECT_EQ(0, fake().live);
}

TEST(Nvml, UnknownCardIsNamedAndTheLibraryShutDown) {
    FakeNvml& nvml = fake();
    const auto device = NvmlDevice::open("0000:99:00.0", FAKE_NVML);
    ASSERT_FALSE(device);
    EXPECT_EQ(ErrorCode::not_found, device.error().code);
    EXPECT_NE(std::string::npos, device.error().message.find("0000:99:00.0"));
    EXPECT_EQ(0, nvml.live);
}

TEST(Nvml, ReadsTheFactsOfACard) {
    fake();
    const DeviceFacts facts = opened()->facts();
    EXPECT_EQ("NVIDIA H100 80GB HBM3", *facts.name);
    EXPECT_EQ("580.159.04", *facts.driver);
    EXPECT_EQ("GPU-11111111-2222-3333-4444-555555555555", *facts.uuid);
    EXPECT_DOUBLE_EQ(700, *facts.power_limit_w);
    EXPECT_DOUBLE_EQ(1980, *facts.max_sm_mhz);
    EXPECT_DOUBLE_EQ(2619, *facts.max_memory_mhz);
    EXPECT_TRUE(*facts.ecc);
    EXPECT_FALSE(*facts.mig);
}

TEST(Nvml, ReadsTheStateOfACardInTheUnitsOfTheRecord) {
    FakeNvml& nvml = fake();
    nvml.throttle = 0x5;
    nvml.processes = {{static_cast<unsigned>(::getpid()), 2ull << 30}};
    nvml.power_violation_ns = 7;
    nvml.thermal_violation_ns = 9;
    nvml.ecc_uncorrected = 3;
    const DeviceSnapshot state = opened()->state();
    EXPECT_GT(state.at_ns, 0);
    EXPECT_DOUBLE_EQ(1980, *state.sm_mhz);
    EXPECT_DOUBLE_EQ(2619, *state.memory_mhz);
    EXPECT_DOUBLE_EQ(50, *state.temperature_c);
    EXPECT_DOUBLE_EQ(378, *state.power_w);
    EXPECT_EQ(0x5u, *state.throttle);
    EXPECT_EQ(1'000'000u, *state.energy_mj);
    EXPECT_EQ(3u, *state.ecc_uncorrected);
    EXPECT_EQ(0u, *state.ecc_corrected);
    EXPECT_EQ(7u, *state.power_slowed_ns);
    EXPECT_EQ(9u, *state.thermal_slowed_ns);
    EXPECT_EQ(3ull << 30, *state.used_bytes);
    EXPECT_EQ(2ull << 30, *state.process_bytes);
    EXPECT_TRUE(state.foreign->empty());
}

TEST(Nvml, WhatACardDoesNotSupportIsAReasonAndNeverZero) {
    FakeNvml& nvml = fake();
    nvml.energy_code = nvml.ecc_code = nvml.mig_code = 3;
    const auto device = opened();
    const DeviceSnapshot state = device->state();
    ASSERT_FALSE(state.energy_mj);
    EXPECT_EQ(ErrorCode::unsupported, state.energy_mj.error().code);
    EXPECT_EQ("nvmlDeviceGetTotalEnergyConsumption: Not Supported",
              state.energy_mj.error().message);
    EXPECT_FALSE(state.ecc_uncorrected);
    EXPECT_FALSE(device->facts().mig);
    EXPECT_FALSE(device->sample().energy_mj);
    EXPECT_TRUE(device->sample().power_w);
}

TEST(Nvml, OlderDriverGivesWhatItHas) {
    FakeNvml& nvml = fake(FAKE_NVML_OLD);
    nvml.throttle = 0x20;
    nvml.processes = {{static_cast<unsigned>(::getpid()), 5}};
    const DeviceSnapshot state = opened(FAKE_NVML_OLD)->state();
    EXPECT_EQ(0x20u, *state.throttle);
    EXPECT_EQ(5u, *state.process_bytes);
    ASSERT_FALSE(state.energy_mj);
    EXPECT_EQ("this driver has no nvmlDeviceGetTotalEnergyConsumption",
              state.energy_mj.error().message);
    EXPECT_FALSE(state.power_slowed_ns);
}

TEST(Nvml, OtherProcessesAreForeignOnlyWhereOursIsListed) {
    FakeNvml& nvml = fake();
    const auto own = static_cast<unsigned>(::getpid());
    nvml.processes = {{own + 1, 100}, {own, 200}, {own + 2, nvml::no_value}};
    const DeviceSnapshot state = opened()->state();
    ASSERT_TRUE(state.foreign);
    ASSERT_EQ(2u, state.foreign->size());
    EXPECT_EQ(own + 1, state.foreign->at(0).pid);
    EXPECT_EQ(100u, state.foreign->at(0).bytes);
    EXPECT_EQ(200u, *state.process_bytes);

    nvml.processes = {{own + 1, 100}};  // a container: process ids of the host
    const DeviceSnapshot hidden = opened()->state();
    EXPECT_FALSE(hidden.foreign);
    EXPECT_FALSE(hidden.process_bytes);
}

TEST(Nvml, ProcessMemoryThatIsNotSaidIsAReason) {
    FakeNvml& nvml = fake();
    nvml.processes = {{static_cast<unsigned>(::getpid()), nvml::no_value}};
    const DeviceSnapshot state = opened()->state();
    ASSERT_FALSE(state.process_bytes);
    EXPECT_TRUE(state.foreign->empty());
    nvml.processes_code = 4;
    EXPECT_NE(std::string::npos,
              opened()->state().foreign.error().message.find("Insufficient Permissions"));
}

TEST(Nvml, EndlessProcessListIsRefusedAndBounded) {
    FakeNvml& nvml = fake();
    nvml.processes.assign(5000, {1, 1});
    EXPECT_FALSE(opened()->state().foreign);
}

TEST(DeviceMonitor, FindsThePeriodOfTheEnergyCounter) {
    FakeNvml& nvml = fake();
    nvml.energy_period_s = 0.02;
    nvml.energy_step_mj = 5;
    const Reading<double> period = energy_counter_period(*opened());
    ASSERT_TRUE(period);
    EXPECT_NEAR(0.02, *period, 0.005);
}

TEST(DeviceMonitor, CounterThatStandsStillHasNoPeriod) {
    fake();
    const Reading<double> period = energy_counter_period(*opened());
    ASSERT_FALSE(period);
    EXPECT_EQ(ErrorCode::timeout, period.error().code);
}

TEST(DeviceMonitor, WatchesAWindowAtABoundedRate) {
    FakeNvml& nvml = fake();
    nvml.energy_period_s = 0.01;
    nvml.energy_step_mj = 4000;  // 400 W
    nvml.processes = {{static_cast<unsigned>(::getpid()), 600ull << 20}};
    DeviceMonitor monitor(bus_id, FAKE_NVML);
    monitor.note_context();
    nvml.processes[0].bytes = 1600ull << 20;
    monitor.note_loaded();
    monitor.begin();
    const int calls = nvml.clock_calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(650));
    const int sampled = (nvml.clock_calls - calls) / 2;
    const DeviceRecord record = monitor.end(1000);
    EXPECT_LE(sampled, 7);
    EXPECT_GE(record.samples.size(), 3u);
    EXPECT_LE(record.samples.size(), 7u);
    for (const DeviceSample& sample : record.samples) {
        EXPECT_GT(sample.at_ns, record.before.at_ns);
        EXPECT_LE(sample.at_ns, record.after.at_ns + 1'000'000'000);
    }
    const auto values = values_of(record, {.weight_codes = 1000ull << 20});
    EXPECT_NEAR(400, values.at("mean_power"), 20);
    EXPECT_NEAR(400 * values.at("window_s"), values.at("energy_per_token"), 20);
    EXPECT_NEAR(2 * 0.01 / values.at("window_s"), values.at("energy_resolution"), 0.02);
    EXPECT_DOUBLE_EQ(600.0 * (1 << 20), values.at("device_context_bytes"));
    EXPECT_DOUBLE_EQ(0, values.at("device_memory_gap_bytes"));
    EXPECT_DOUBLE_EQ(0, values.at("window_throttled"));
    EXPECT_DOUBLE_EQ(0, values.at("foreign_processes"));
    EXPECT_DOUBLE_EQ(1980, values.at("sm_clock_mean"));
    EXPECT_EQ("counts", device_notes(record).at("window"));
}

TEST(DeviceMonitor, WindowsFollowOneAnother) {
    FakeNvml& nvml = fake();
    nvml.energy_period_s = 0.01;
    nvml.energy_step_mj = 1;
    DeviceMonitor monitor(bus_id, FAKE_NVML);
    monitor.begin();
    const DeviceRecord first = monitor.end(1);
    monitor.begin();
    monitor.begin();  // the window before is forgotten
    const DeviceRecord second = monitor.end(2);
    EXPECT_EQ(1, first.tokens);
    EXPECT_EQ(2, second.tokens);
    EXPECT_GE(second.before.at_ns, first.after.at_ns);
}

TEST(DeviceMonitor, WithoutNvmlEveryReadingOfARecordSaysWhy) {
    DeviceMonitor monitor(bus_id, absent_library);
    monitor.note_context();
    monitor.begin();
    const DeviceRecord record = monitor.end(10);
    EXPECT_TRUE(record.samples.empty());
    const auto values = values_of(record, {.weight_codes = 1});
    for (const char* metric :
         {"energy_per_token", "mean_power", "sm_clock_mean", "temperature_before", "throttle_s",
          "foreign_processes", "window_throttled", "window_foreign_process", "window_clock_drift",
          "device_memory_bytes", "device_memory_gap_bytes", "ecc_uncorrected_errors"}) {
        EXPECT_FALSE(values.contains(metric)) << metric;
    }
    const auto notes = device_notes(record);
    for (const char* note : {"gpu_name", "gpu_driver", "energy", "device_memory", "gpu_ecc"}) {
        EXPECT_TRUE(notes.at(note).starts_with("not available: NVML cannot be loaded")) << note;
    }
    EXPECT_NE(std::string::npos, notes.at("not_available").find("foreign_processes"));
}

}  // namespace
}  // namespace bitsweep
