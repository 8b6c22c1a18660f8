// What NVML said about one card before, during and after a measured window: plain data. A value
// that could not be read carries the reason; it is never 0 instead.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

template <class T>
using Reading = Result<T>;

inline Error not_read() {
    return make_error(ErrorCode::unavailable, "not read");
}

// What does not change while a process lives.
struct DeviceFacts {
    Reading<std::string> name = not_read();
    Reading<std::string> uuid = not_read();
    Reading<std::string> driver = not_read();  // "580.159.04"
    Reading<double> power_limit_w = not_read();
    Reading<double> max_sm_mhz = not_read();
    Reading<double> max_memory_mhz = not_read();
    Reading<bool> ecc = not_read();
    Reading<bool> mig = not_read();
};

struct DeviceProcess {
    std::uint32_t pid = 0;
    std::uint64_t bytes = 0;  // 0: NVML does not say
};

// Everything, read once: some milliseconds.
struct DeviceSnapshot {
    std::int64_t at_ns = 0;  // steady clock
    Reading<double> sm_mhz = not_read();
    Reading<double> memory_mhz = not_read();
    Reading<double> temperature_c = not_read();
    Reading<double> power_w = not_read();                   // mean of about the last second (NVML)
    Reading<std::uint64_t> throttle = not_read();           // bits of throttle_reasons()
    Reading<std::uint64_t> energy_mj = not_read();          // counter since the driver was loaded
    Reading<std::uint64_t> power_slowed_ns = not_read();    // counters: time below the wanted
    Reading<std::uint64_t> thermal_slowed_ns = not_read();  // clocks, by cause
    Reading<std::uint64_t> ecc_corrected = not_read();      // since the driver was loaded
    Reading<std::uint64_t> ecc_uncorrected = not_read();
    Reading<std::uint64_t> used_bytes = not_read();     // on the card, by every process
    Reading<std::uint64_t> process_bytes = not_read();  // by this process, its context included
    Reading<std::vector<DeviceProcess>> foreign = not_read();  // other compute processes
};

// The few values that are read while something is being measured; absent where they failed.
struct DeviceSample {
    std::int64_t at_ns = 0;
    std::optional<double> sm_mhz;
    std::optional<double> memory_mhz;
    std::optional<double> temperature_c;
    std::optional<double> power_w;
    std::optional<std::uint64_t> throttle;
    std::optional<std::uint64_t> energy_mj;
};

// One measured window.
struct DeviceRecord {
    DeviceFacts facts;
    DeviceSnapshot context;  // with a CUDA context and without a model: what is not the model's
    DeviceSnapshot loaded;   // with the model, before the window
    DeviceSnapshot before, after;
    std::vector<DeviceSample> samples;             // between them, in order
    std::int64_t tokens = 0;                       // new tokens of all sequences in the window
    Reading<double> energy_period_s = not_read();  // between two changes of the energy counter
    Reading<double> cpu_energy_j = not_read();     // of all CPU packages, RAPL, over the window

    double seconds() const { return static_cast<double>(after.at_ns - before.at_ns) / 1e9; }
};

// NVML's clocks-event (throttle) reasons that bitsweep tells apart, by bit.
struct ThrottleReason {
    std::uint64_t bit;
    const char* name;  // "sw_power_cap"
    bool slows;        // lowers clocks below what was asked for, so that a sample does not count
};
inline constexpr ThrottleReason throttle_reasons[] = {
    {0x001, "gpu_idle", false},
    {0x002, "applications_clocks_setting", false},
    {0x004, "sw_power_cap", true},
    {0x008, "hw_slowdown", true},
    {0x010, "sync_boost", true},
    {0x020, "sw_thermal_slowdown", true},
    {0x040, "hw_thermal_slowdown", true},
    {0x080, "hw_power_brake_slowdown", true},
    {0x100, "display_clock_setting", false},
};

// "sw_power_cap, hw_slowdown"; bits without a name as "0x200"; "none".
std::string throttle_names(std::uint64_t mask);
// Whether any reason of the mask slows.
bool slows(std::uint64_t mask);

}  // namespace bitsweep
