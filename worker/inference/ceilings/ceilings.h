// Ceilings of one CUDA device, measured, and what the device says it is. In a build without CUDA
// every call answers `unsupported`.
#pragma once

#include <cstdint>
#include <string>

#include "schemas/status.h"
#include "worker/inference/ceilings/device_ceilings.h"

namespace bitsweep {

// As the CUDA runtime reports it. worker/metrics/nvml.h adds what only NVML knows.
struct DeviceIdentity {
    int ordinal = 0;         // CUDA's, after CUDA_VISIBLE_DEVICES
    std::string name;        // "NVIDIA H100 80GB HBM3"
    std::string pci_bus_id;  // "0000:0f:00.0": NVML's ordinals differ from CUDA's, this does not
    int sm = 0;              // compute capability x 10: 90
    int multiprocessors = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t l2_bytes = 0;
    int driver = 0;   // CUDA version that the driver supports, 13000
    int runtime = 0;  // CUDA runtime of this build, 13000
};

// Devices that CUDA sees; 0 where there is no driver or no card.
int device_count();

// unsupported: no CUDA in this build, no driver, or no such device; names how many there are.
Result<DeviceIdentity> device_identity(int ordinal);

// Measured at the first call for a device and kept while the process lives: about 2 s, at most a
// quarter of the card's free memory, all given back. Not while something is being timed.
// A ceiling that cannot be measured stays 0 and its reason is added to `notes` when not null.
// out_of_gpu_memory, gpu_fault as CUDA reports them.
Result<DeviceCeilings> measured_ceilings(int ordinal, std::string* notes);

// A fresh reading of the read bandwidth, about 20 ms: the ceiling of this moment, beside a
// measurement. B/s.
Result<double> read_bandwidth_now(int ordinal);

// Bytes in use on the whole device as CUDA counts them (cudaMemGetInfo): contexts of all processes
// included. For where NVML cannot tell this process's memory.
Result<std::uint64_t> device_used_bytes(int ordinal);

}  // namespace bitsweep
