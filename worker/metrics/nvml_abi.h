// The part of NVML's binary interface that bitsweep calls (NVIDIA Management Library API reference,
// nvml.h of CUDA 11 to 13; symbols with a suffix never change). Declared here because NVML is
// loaded at run time: the same program runs where there is no driver, and builds where there is no
// CUDA toolkit. tests/metrics holds it against nvml.h where that is installed.
#pragma once

#include <cstdint>

namespace bitsweep::nvml {

using Code = int;  // nvmlReturn_t
inline constexpr Code success = 0;
inline constexpr Code not_supported = 3;
inline constexpr Code insufficient_size = 7;

using Device = void*;  // nvmlDevice_t

inline constexpr int clock_sm = 1;
inline constexpr int clock_memory = 2;
inline constexpr int temperature_of_gpu = 0;
inline constexpr int ecc_corrected = 0;
inline constexpr int ecc_uncorrected = 1;
inline constexpr int ecc_volatile = 0;  // since the driver was loaded
inline constexpr int policy_power = 0;
inline constexpr int policy_thermal = 1;
inline constexpr unsigned text_bytes = 96;  // NVML_DEVICE_NAME_V2_BUFFER_SIZE, the largest here
inline constexpr std::uint64_t no_value = ~std::uint64_t{0};  // NVML_VALUE_NOT_AVAILABLE

struct Memory {  // nvmlMemory_t
    unsigned long long total, free, used;
};

struct ProcessInfo {  // nvmlProcessInfo_v2_t, of ..._v3 calls too
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

struct ViolationTime {  // nvmlViolationTime_t: microseconds, nanoseconds
    unsigned long long reference_us, violation_ns;
};

}  // namespace bitsweep::nvml
