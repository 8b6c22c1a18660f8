// Watches the card of one job: its ceilings before the model is there, NVML around the measured
// window, and enough repetitions for the energy counter.
#pragma once

#include <functional>
#include <optional>

#include "schemas/job.h"
#include "schemas/status.h"
#include "worker/inference/ceilings/device_ceilings.h"
#include "worker/inference/trace.h"
#include "worker/metrics/device_monitor.h"
#include "worker/runner/devices.h"
#include "worker/runner/provenance.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

// What the card said and reached, for the metrics and the provenance.
struct CardReport {
    DeviceRecord record;
    DeviceCeilings ceilings;  // zeros where they could not be measured; `notes` says why
    Provenance notes;
};

class CardWatch {
 public:
    // Reads what the card holds without a model: create it before the model is loaded.
    CardWatch(DeviceMonitor& monitor, const DeviceCeilings& ceilings, Provenance notes);

    void model_loaded();
    void window_begins();                       // just before the first measured sequence
    std::optional<double> temperature() const;  // C, now; nullopt: NVML does not say

    // Ends the window that holds `trace.sequences`. Where it was too short for the protocol's
    // resolution of the energy, `sequence` runs on until it is not; those runs are in the energy
    // and nowhere else. Errors are the sequence's.
    Result<CardReport> window_ends(const Trace& trace, Protocol protocol,
                                   const std::function<Result<Sequence>()>& sequence);

 private:
    DeviceMonitor& monitor_;
    DeviceCeilings ceilings_;
    Provenance notes_;
    std::int64_t began_ns_ = 0;
};

// Nothing on the CPU. The monitor and the ceilings of a card are kept while the process lives; the
// first call for it takes up to 3 s. gpu_fault: the card can no longer be used.
Result<std::optional<CardWatch>> watch_card(const Device& device);

// How long a window must be for a protocol, in periods of the energy counter: the relative
// resolution of the energy is two periods over the window (device_window.h). quick 8 %, standard
// 5 %, headline 2 %; seed-report measures as the seed did, without.
int energy_periods(Protocol protocol);

}  // namespace bitsweep
