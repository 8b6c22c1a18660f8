// A stand-in for libnvidia-ml.so.1, loaded as the real one is; tests set what it answers.
#pragma once

#include <atomic>
#include <string>
#include <vector>

namespace bitsweep::testing {

struct FakeNvml {
    struct Process {
        unsigned pid;
        unsigned long long bytes;
    };
    int init_code = 0;
    std::string bus_id = "0000:0f:00.0";  // the only card
    unsigned sm_mhz = 1980, memory_mhz = 2619, temperature = 50, power_mw = 378'000;
    unsigned long long throttle = 0, energy_mj = 1'000'000;
    int energy_code = 0;
    // Above 0: the counter moves by itself, by `energy_step_mj` in each of these periods.
    double energy_period_s = 0;
    unsigned long long energy_step_mj = 0;
    unsigned long long used_bytes = 3ull << 30;
    std::vector<Process> processes;
    int processes_code = 0;
    unsigned long long ecc_uncorrected = 0;
    int ecc_code = 0, mig_code = 0, violation_code = 0;
    unsigned long long power_violation_ns = 0, thermal_violation_ns = 0;
    std::atomic<int> clock_calls = 0;
    int live = 0;  // nvmlInit without nvmlShutdown
};

using FakeNvmlState = FakeNvml* (*)();  // the symbol "fake_nvml_state"

}  // namespace bitsweep::testing
