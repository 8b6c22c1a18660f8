// Reads one NVIDIA card through NVML. The library is opened at run time: without a driver open()
// answers with the reason, and nothing else of bitsweep changes.
#pragma once

#include <memory>
#include <string>

#include "schemas/status.h"
#include "worker/metrics/device_record.h"

namespace bitsweep {

inline constexpr const char* nvml_library = "libnvidia-ml.so.1";

class NvmlDevice {
 public:
    // `pci_bus_id` as CUDA prints it ("0000:0f:00.0"). unavailable: no library, no driver;
    // not_found: no such card; each with NVML's own words. `library` is for tests.
    static Result<std::unique_ptr<NvmlDevice>> open(const std::string& pci_bus_id,
                                                    const std::string& library = nvml_library);
    ~NvmlDevice();
    NvmlDevice(const NvmlDevice&) = delete;
    NvmlDevice& operator=(const NvmlDevice&) = delete;

    DeviceFacts facts() const;
    DeviceSnapshot state() const;
    DeviceSample sample() const;  // six calls, some tens of microseconds
    Reading<std::uint64_t> energy_mj() const;

 private:
    struct Library;
    NvmlDevice(std::unique_ptr<Library> library, void* device);
    void read_processes(DeviceSnapshot& to) const;

    std::unique_ptr<Library> library_;
    void* device_;
};

}  // namespace bitsweep
