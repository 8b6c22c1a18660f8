// Watches one card around a measured window: a full reading before and after, a light one ten times
// a second in between.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "schemas/status.h"
#include "worker/metrics/device_record.h"
#include "worker/metrics/nvml.h"
#include "worker/metrics/rapl.h"

namespace bitsweep {

// How often a sample is taken: at 10 Hz, six calls of some 10 us each are below 0.1 % of one core
// and touch neither the GPU's queues nor the timing thread.
inline constexpr std::int64_t sample_period_ns = 100'000'000;
// Samples of one window that are kept: a quarter of an hour.
inline constexpr std::size_t most_device_samples = 9000;

// One for a card and a process. Opening never fails: where NVML is not there, every reading of
// every record says why. Calls in order: note_context, note_loaded (each may be left out), then
// begin and end around each window.
class DeviceMonitor {
 public:
    // Measures the period of the energy counter: up to a second, in which the card may idle.
    explicit DeviceMonitor(const std::string& pci_bus_id,
                           const std::string& library = nvml_library);
    ~DeviceMonitor();
    DeviceMonitor(const DeviceMonitor&) = delete;
    DeviceMonitor& operator=(const DeviceMonitor&) = delete;

    void note_context();  // after the CUDA context and the ceilings, before the model
    void note_loaded();   // after the model, its cache and its buffers
    void begin();         // starts a window; one that was begun before is forgotten
    DeviceRecord end(std::int64_t tokens);  // tokens: new ones of all sequences since begin()

    // Of the card's energy counter; nullopt where it is not known.
    std::optional<double> energy_period_s() const;
    std::optional<double> temperature_c() const;  // now
    bool reads_energy() const;                    // whether a longer window would give an energy

 private:
    struct Sampler;
    DeviceSnapshot state() const;

    Result<std::unique_ptr<NvmlDevice>> device_;
    DeviceRecord record_;
    Result<CpuEnergy> cpu_before_;
    std::unique_ptr<Sampler> sampler_;
};

// Seconds between two changes of the card's energy counter, the median of a few; timeout where it
// does not change for a second.
Reading<double> energy_counter_period(const NvmlDevice& device);

}  // namespace bitsweep
