// What this process holds in memory, as the kernel counts it.
#pragma once

#include <cstdint>

namespace bitsweep {

std::uint64_t resident_bytes();       // VmRSS; 0 where /proc does not say
std::uint64_t peak_resident_bytes();  // VmHWM since the start or the last reset; 0 likewise

// Sets VmHWM to the present VmRSS. False where the kernel refuses: the peak then is cumulative.
bool reset_peak_resident();

// Gives freed heap pages back to the kernel, so that one job's memory is not counted in the next.
void return_freed_memory();

}  // namespace bitsweep
