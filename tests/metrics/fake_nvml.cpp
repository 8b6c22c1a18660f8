#include "tests/metrics/fake_nvml.h"

#include <chrono>
#include <cstring>

#include "worker/metrics/nvml_abi.h"

namespace {

bitsweep::testing::FakeNvml state;
int card;  // its address is the handle

constexpr int invalid_argument = 2;
constexpr int not_found = 6;

int put(const char* text, char* to, unsigned bytes) {
    if (std::strlen(text) >= bytes) {
        return bitsweep::nvml::insufficient_size;
    }
    std::strcpy(to, text);
    return 0;
}

int number(void* device, unsigned value, unsigned* to) {
    if (device != &card) {
        return invalid_argument;
    }
    *to = value;
    return 0;
}

}  // namespace

extern "C" {

using bitsweep::nvml::Memory;
using bitsweep::nvml::ProcessInfo;
using bitsweep::nvml::ViolationTime;

bitsweep::testing::FakeNvml* fake_nvml_state() {
    return &state;
}

int nvmlInit_v2() {
    state.live += state.init_code == 0 ? 1 : 0;
    return state.init_code;
}
int nvmlShutdown() {
    --state.live;
    return 0;
}
const char* nvmlErrorString(int code) {
    switch (code) {
        case 3:
            return "Not Supported";
        case 4:
            return "Insufficient Permissions";
        case 6:
            return "Not Found";
        case 9:
            return "Driver Not Loaded";
        default:
            return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char* to, unsigned bytes) {
    return put("580.159.04", to, bytes);
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** to) {
    if (state.bus_id != bus_id) {
        return not_found;
    }
    *to = &card;
    return 0;
}
int nvmlDeviceGetName(void* device, char* to, unsigned bytes) {
    return device == &card ? put("NVIDIA H100 80GB HBM3", to, bytes) : invalid_argument;
}
int nvmlDeviceGetUUID(void* device, char* to, unsigned bytes) {
    return device == &card ? put("GPU-11111111-2222-3333-4444-555555555555", to, bytes)
                           : invalid_argument;
}
int nvmlDeviceGetEnforcedPowerLimit(void* device, unsigned* to) {
    return number(device, 700'000, to);
}
int nvmlDeviceGetMaxClockInfo(void* device, int clock, unsigned* to) {
    return number(device, clock == bitsweep::nvml::clock_sm ? 1980 : 2619, to);
}
int nvmlDeviceGetEccMode(void* device, unsigned* current, unsigned* pending) {
    *pending = 0;
    return number(device, 1, current);
}
int nvmlDeviceGetMigMode(void* device, unsigned* current, unsigned* pending) {
    *pending = 0;
    return state.mig_code != 0 ? state.mig_code : number(device, 0, current);
}
int nvmlDeviceGetClockInfo(void* device, int clock, unsigned* to) {
    ++state.clock_calls;
    return number(device, clock == bitsweep::nvml::clock_sm ? state.sm_mhz : state.memory_mhz, to);
}
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* to) {
    return sensor == 0 ? number(device, state.temperature, to) : invalid_argument;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* to) {
    return number(device, state.power_mw, to);
}
#ifdef FAKE_NVML_OLD  // a driver of before: fewer symbols, older names
int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* to) {
    *to = state.throttle;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v2(void*, unsigned* count, ProcessInfo* to) {
#else
int nvmlDeviceGetCurrentClocksEventReasons(void*, unsigned long long* to) {
    *to = state.throttle;
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* to) {
    *to = state.energy_mj;
    if (state.energy_period_s > 0) {
        const double now =
            std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                .count();
        *to += static_cast<unsigned long long>(now / state.energy_period_s) * state.energy_step_mj;
    }
    return state.energy_code;
}
int nvmlDeviceGetViolationStatus(void*, int policy, ViolationTime* to) {
    *to = {0, policy == bitsweep::nvml::policy_power ? state.power_violation_ns
                                                     : state.thermal_violation_ns};
    return state.violation_code;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* count, ProcessInfo* to) {
#endif
    if (state.processes_code != 0) {
        return state.processes_code;
    }
    if (*count < state.processes.size()) {
        return bitsweep::nvml::insufficient_size;
    }
    *count = static_cast<unsigned>(state.processes.size());
    for (const auto& process : state.processes) {
        *to++ = {process.pid, process.bytes, ~0u, ~0u};
    }
    return 0;
}
int nvmlDeviceGetTotalEccErrors(void*, int type, int counter, unsigned long long* to) {
    *to = type == bitsweep::nvml::ecc_uncorrected && counter == bitsweep::nvml::ecc_volatile
              ? state.ecc_uncorrected
              : 0;
    return state.ecc_code;
}
int nvmlDeviceGetMemoryInfo(void*, Memory* to) {
    *to = {80ull << 30, (80ull << 30) - state.used_bytes, state.used_bytes};
    return 0;
}

}  // extern "C"
