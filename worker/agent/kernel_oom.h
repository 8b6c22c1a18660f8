// The kernel's own count of processes it killed for memory: the evidence that tells an
// out-of-memory kill from any other SIGKILL.
#pragma once

#include <cstdint>

namespace bitsweep::agent {

// /proc/vmstat and the memory.events of this process's control group, added; 0 where neither is
// readable.
std::uint64_t kernel_oom_kills();

}  // namespace bitsweep::agent
