// How much memory a device has free and who else computes there, while the worker lives.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "schemas/message.h"

namespace bitsweep::agent {

// A runner of this worker: what it holds would be free for the next one.
struct OwnRunner {
    std::string device;
    pid_t pid = 0;
};

// MemAvailable of /proc/meminfo in bytes; 0: not readable.
std::uint64_t host_memory_free();
// What the process holds in memory of its own; 0: it is gone.
std::uint64_t resident_bytes(pid_t pid);

// CPU: MemAvailable of /proc/meminfo. GPUs: NVML, loaded when the driver has it.
class DeviceWatch {
 public:
    explicit DeviceWatch(const std::vector<DeviceInfo>& devices);
    ~DeviceWatch();
    DeviceWatch(const DeviceWatch&) = delete;
    DeviceWatch& operator=(const DeviceWatch&) = delete;

    // A device that cannot be asked is left out.
    std::vector<DeviceState> look(const std::vector<OwnRunner>& own) const;

 private:
    class Nvml;
    std::vector<DeviceInfo> devices_;
    std::unique_ptr<Nvml> nvml_;
};

}  // namespace bitsweep::agent
