#include "worker/runner/card_watch.h"

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "worker/inference/ceilings/ceilings.h"
#include "worker/metrics/device_notes.h"

namespace bitsweep {
namespace {

// Where the counter's period is not known; worker/metrics/device_window.cpp has the source.
constexpr double usual_period_s = 0.1;

std::int64_t tokens_of(const SequenceTrace& trace) {
    return trace.batch * (1 + static_cast<std::int64_t>(trace.token_ns.size()));
}

std::string version_words(int version) {  // 13000 -> "13.0"
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Provenance identity_notes(const DeviceIdentity& identity) {
    return {{"gpu_sm", std::to_string(identity.sm)},
            {"gpu_multiprocessors", std::to_string(identity.multiprocessors)},
            {"gpu_l2_bytes", std::to_string(identity.l2_bytes)},
            {"gpu_memory_bytes", std::to_string(identity.memory_bytes)},
            {"gpu_pci_bus_id", identity.pci_bus_id},
            {"cuda_driver", version_words(identity.driver)},
            {"cuda_runtime", version_words(identity.runtime)}};
}

DeviceMonitor& monitor_of(const std::string& pci_bus_id) {
    static std::mutex lock;
    static std::map<std::string, std::unique_ptr<DeviceMonitor>> kept;
    const std::scoped_lock guard(lock);
    std::unique_ptr<DeviceMonitor>& monitor = kept[pci_bus_id];
    if (!monitor) {
        monitor = std::make_unique<DeviceMonitor>(pci_bus_id);
    }
    return *monitor;
}

}  // namespace

int energy_periods(Protocol protocol) {
    switch (protocol) {
        case Protocol::seed_report:
            return 0;
        case Protocol::quick:
            return 25;
        case Protocol::standard:
            return 40;
        case Protocol::headline:
            return 100;
    }
    ASSERT(false);
}

CardWatch::CardWatch(DeviceMonitor& monitor, const DeviceCeilings& ceilings, Provenance notes)
    : monitor_(monitor), ceilings_(ceilings), notes_(std::move(notes)) {
    monitor_.note_context();
}

void CardWatch::model_loaded() {
    monitor_.note_loaded();
}

void CardWatch::window_begins() {
    monitor_.begin();
    began_ns_ = monotonic_ns();
}

std::optional<double> CardWatch::temperature() const {
    return monitor_.temperature_c();
}

Result<CardReport> CardWatch::window_ends(const Trace& trace, Protocol protocol,
                                          const std::function<Result<Sequence>()>& sequence) {
    ASSERT(began_ns_ != 0);
    std::int64_t tokens = 0;
    for (const SequenceTrace& one : trace.sequences) {
        tokens += tokens_of(one);
    }
    const double period = monitor_.energy_period_s().value_or(usual_period_s);
    const auto until =
        began_ns_ + static_cast<std::int64_t>(energy_periods(protocol) * period * 1e9);
    while (monitor_.reads_energy() && monotonic_ns() < until) {
        tokens += tokens_of(TRY(sequence()).trace);
    }
    CardReport report{.record = monitor_.end(tokens), .ceilings = ceilings_, .notes = notes_};
    report.notes.merge(device_notes(report.record));
    return report;
}

Result<std::optional<CardWatch>> watch_card(const Device& device) {
    if (device.is_cpu()) {
        return std::optional<CardWatch>();
    }
    const DeviceIdentity identity = TRY(device_identity(device.ordinal));
    Provenance notes = identity_notes(identity);
    std::string missing;
    const Result<DeviceCeilings> ceilings = measured_ceilings(device.ordinal, &missing);
    if (!ceilings) {
        if (ceilings.error().code == ErrorCode::gpu_fault) {
            return ceilings.error();
        }
        missing = "not available: " + ceilings.error().message;
    }
    notes["ceilings"] = missing.empty() ? "measured on this card in this process" : missing;
    return std::optional<CardWatch>(std::in_place, monitor_of(identity.pci_bus_id),
                                    ceilings ? *ceilings : DeviceCeilings{}, std::move(notes));
}

}  // namespace bitsweep
