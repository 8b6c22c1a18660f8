#include "worker/metrics/device_notes.h"

#include <cstdio>

namespace bitsweep {
namespace {

std::string words(const std::string& text) {
    return text;
}
std::string words(bool set) {
    return set ? "on" : "off";
}
std::string words(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", number);
    return text;
}

template <class T>
std::string note(const Reading<T>& reading) {
    return reading ? words(*reading) : "not available: " + reading.error().message;
}

void join(std::string& all, const std::string& one) {
    all += (all.empty() ? "" : "; ") + one;
}

std::string window_words(const DeviceRecord& record) {
    std::string found;
    for (const std::string& finding : judge_window(record).findings) {
        join(found, finding);
    }
    return found.empty() ? "counts" : found;
}

std::string reasons_seen(const DeviceRecord& record) {
    std::uint64_t mask = 0;
    bool any = false;
    for (const DeviceSample& sample : record.samples) {
        any = any || sample.throttle;
        mask |= sample.throttle.value_or(0);
    }
    return any ? throttle_names(mask) : "not available: no sample has them";
}

std::string energy_words(const DeviceRecord& record) {
    const Reading<WindowEnergy> energy = window_energy(record);
    if (!energy) {
        return "not available: " + energy.error().message;
    }
    char text[160];
    std::snprintf(text, sizeof text, "window %.2f s, resolution %.1f %%; ", energy->seconds,
                  energy->resolution * 100);
    return text + energy->source;
}

// Each reason once, however many readings share it.
class Reasons {
 public:
    template <class T>
    void add(const char* what, const Reading<T>& reading) {
        if (!reading) {
            join(by_reason_[reading.error().message], what);
        }
    }
    std::string text() const {
        std::string all;
        for (const auto& [reason, names] : by_reason_) {
            all += (all.empty() ? "" : " | ") + names + ": " + reason;
        }
        return all;
    }

 private:
    std::map<std::string, std::string> by_reason_;
};

}  // namespace

std::map<std::string, std::string> device_notes(const DeviceRecord& record) {
    const DeviceFacts& facts = record.facts;
    std::map<std::string, std::string> notes = {
        {"gpu_name", note(facts.name)},
        {"gpu_uuid", note(facts.uuid)},
        {"gpu_driver", note(facts.driver)},
        {"gpu_power_limit_w", note(facts.power_limit_w)},
        {"gpu_sm_clock_max_mhz", note(facts.max_sm_mhz)},
        {"gpu_memory_clock_max_mhz", note(facts.max_memory_mhz)},
        {"gpu_ecc", note(facts.ecc)},
        {"gpu_mig", note(facts.mig)},
        {"window", window_words(record)},
        {"throttle_reasons", reasons_seen(record)},
        {"energy", energy_words(record)},
        {"cpu_energy", record.cpu_energy_j
                           ? "RAPL, all packages"
                           : "not available: " + record.cpu_energy_j.error().message},
    };
    const Reading<DeviceMemory> memory = device_memory(record);
    notes["device_memory"] = memory ? memory->source : "not available: " + memory.error().message;
    Reasons missing;
    missing.add("sm_clock", record.after.sm_mhz);
    missing.add("memory_clock", record.after.memory_mhz);
    missing.add("temperature", record.after.temperature_c);
    missing.add("power", record.after.power_w);
    missing.add("throttle_reasons", record.after.throttle);
    missing.add("throttle_counters", record.after.power_slowed_ns);
    missing.add("ecc_errors", record.after.ecc_uncorrected);
    missing.add("memory", record.after.used_bytes);
    missing.add("foreign_processes", record.after.foreign);
    if (const std::string text = missing.text(); !text.empty()) {
        notes["not_available"] = text;
    }
    return notes;
}

}  // namespace bitsweep
