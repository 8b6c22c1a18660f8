// Judges a measured window from what NVML said about it: whether it counts, and its energy. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/metrics/device_record.h"

namespace bitsweep {

// When a window does not count. Where a number is a judgement, it says so.
struct WindowLimits {
    // Share of samples with a reason that slows: MLPerf and NVBench discard such samples; a window
    // with more than a tenth of them is run again (judgement).
    double slowed_share = 0.10;
    // SM clock against the highest one of the window: NVBench's default --throttle-threshold.
    double least_clock_share = 0.75;
    // Spread of the SM clock, (max - min) / max: compute-bound time moves by as much; five times
    // the 1 % to which the standard protocol wants its median (judgement).
    double clock_spread = 0.05;
    // Between the first and the last sample. Leakage grows by about 1 % in 3 C near 50 C; a window
    // that heats by 10 C was not warm (judgement).
    double temperature_drift_c = 10;
    // Relative uncertainty up to which an energy is reported.
    double energy_resolution = 0.10;
};

// nullopt: cannot be told, because what it needs was not available.
struct WindowVerdict {
    std::optional<bool> throttled;
    std::optional<bool> foreign_process;
    std::optional<bool> clock_drift;
    std::optional<bool> temperature_drift;
    std::vector<std::string> findings;  // one line for each true flag, with its numbers

    bool counts() const {  // nothing was found against it
        return findings.empty();
    }
};

WindowVerdict judge_window(const DeviceRecord& record, const WindowLimits& limits = {});

// Time within the window that the card spent slowed: from NVML's counters where it has them, else
// the share of samples. unavailable: neither.
Reading<double> slowed_seconds(const DeviceRecord& record);

struct WindowEnergy {
    double joules = 0;
    double seconds = 0;
    double resolution = 0;  // relative: what one update of the counter at each end is of the window
    std::string source;     // "counter, new every 0.020 s" or "mean of power samples"
};

// unavailable with the reason: neither counter nor power, or a window too short for the counter
// (it then says how long one must be).
Reading<WindowEnergy> window_energy(const DeviceRecord& record, const WindowLimits& limits = {});

// Bytes that the model's process holds on the card, and what it held before the model.
struct DeviceMemory {
    std::uint64_t bytes = 0;    // after the window, the context included
    std::uint64_t context = 0;  // context, modules and libraries
    std::string source;         // "NVML, this process" or "NVML, all processes of the card"
};
Reading<DeviceMemory> device_memory(const DeviceRecord& record);

}  // namespace bitsweep
