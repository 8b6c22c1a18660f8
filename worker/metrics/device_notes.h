// What a record says in words: provenance of a result, and the reason of everything that it lacks.
#pragma once

#include <map>
#include <string>

#include "worker/metrics/device_record.h"
#include "worker/metrics/device_window.h"

namespace bitsweep {

// gpu_name, gpu_uuid, gpu_driver, gpu_power_limit_w, gpu_sm_clock_max_mhz,
// gpu_memory_clock_max_mhz, gpu_ecc, gpu_mig; window ("counts" or what was found against it),
// throttle_reasons; energy, cpu_energy, device_memory: how they were read, or "not available:
// REASON"; not_available: readings of the window that the card does not give, with NVML's words.
std::map<std::string, std::string> device_notes(const DeviceRecord& record);

}  // namespace bitsweep
