#include "worker/runner/devices.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <utility>

#include "worker/inference/ceilings/ceilings.h"
#include "worker/metrics/nvml.h"
#include "worker/runner/provenance.h"

namespace bitsweep {
namespace {

// What a new process could get without swapping, as the kernel estimates it.
std::uint64_t available_memory() {
    std::ifstream info("/proc/meminfo");
    std::string key;
    std::uint64_t kib = 0;
    std::string rest;
    while (info >> key >> kib && std::getline(info, rest)) {
        if (key == "MemAvailable:") {
            return kib * 1024;
        }
    }
    return 0;
}

DeviceInfo cpu_device() {
    const Provenance& facts = process_provenance();
    struct sysinfo machine {};
    ::sysinfo(&machine);
    DeviceInfo device;
    device.id = "cpu";
    device.kind = "cpu";
    device.name = facts.at("cpu");
    device.memory_bytes = machine.totalram * machine.mem_unit;
    device.free_bytes = available_memory();
    for (const char* key : {"cores", "isa", "kernel", "torch", "compiler"}) {
        device.facts[key] = facts.at(key);
    }
    return device;
}

std::string version_words(int version) {  // 13010 -> "13.1"
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string words_of(const std::string& value) {
    return value;
}
std::string words_of(double value) {
    return std::to_string(std::lround(value));
}
std::string words_of(bool value) {
    return value ? "on" : "off";
}

template <class T>
void add_fact(DeviceInfo& device, const char* name, const Reading<T>& reading) {
    if (reading) {
        device.facts[name] = words_of(*reading);
    }
}

Result<DeviceInfo> card(int ordinal) {
    const DeviceIdentity identity = TRY(device_identity(ordinal));
    const std::uint64_t used = TRY(device_used_bytes(ordinal));
    DeviceInfo device;
    device.id = Device{ordinal}.id();
    device.name = identity.name;
    double power_limit_w = 0;
    if (const auto nvml = NvmlDevice::open(identity.pci_bus_id)) {
        const DeviceFacts facts = (*nvml)->facts();
        power_limit_w = facts.power_limit_w ? *facts.power_limit_w : 0;
        add_fact(device, "uuid", facts.uuid);
        add_fact(device, "driver", facts.driver);
        add_fact(device, "power_limit_w", facts.power_limit_w);
        add_fact(device, "max_sm_mhz", facts.max_sm_mhz);
        add_fact(device, "ecc", facts.ecc);
        add_fact(device, "mig", facts.mig);
    }
    device.kind = kind_of_card(identity.name, identity.memory_bytes, power_limit_w, "");
    device.memory_bytes = identity.memory_bytes;
    device.free_bytes = identity.memory_bytes - std::min(used, identity.memory_bytes);
    device.facts["pci_bus_id"] = identity.pci_bus_id;
    device.facts["sm"] = std::to_string(identity.sm);
    device.facts["multiprocessors"] = std::to_string(identity.multiprocessors);
    device.facts["l2_bytes"] = std::to_string(identity.l2_bytes);
    device.facts["cuda_driver"] = version_words(identity.driver);
    device.facts["cuda_runtime"] = version_words(identity.runtime);
    return device;
}

// "cpu, cuda:0 (NVIDIA H100 80GB HBM3)".
std::string names_of_all() {
    std::string words = "cpu";
    for (int i = 0; i < device_count(); ++i) {
        const auto identity = device_identity(i);
        words += ", " + Device{i}.id() + (identity ? " (" + identity->name + ")" : "");
    }
    return words;
}

}  // namespace

void number_cards_by_bus() {
    ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);
}

Result<Device> find_device(const std::string& text) {
    constexpr std::string_view prefix = "cuda:";
    if (text == "cpu") {
        return Device{};
    }
    Device device{0};
    bool read = text == "cuda";  // torch's word for the first card
    if (!read && text.starts_with(prefix)) {
        const char* end = text.data() + text.size();
        const auto [at, failed] = std::from_chars(text.data() + prefix.size(), end, device.ordinal);
        read = failed == std::errc() && at == end && device.ordinal >= 0;
    }
    if (!read) {
        return make_error(ErrorCode::invalid_input,
                          "device '" + text + "' is none; write cpu, or cuda:N for a card");
    }
    if (const auto identity = device_identity(device.ordinal); !identity) {
        const bool missing = device_count() > 0;
        return make_error(missing ? ErrorCode::not_found : ErrorCode::unsupported,
                          "device '" + text +
                              "': " + (missing ? "no such card" : identity.error().message) +
                              "; this machine has: " + names_of_all());
    }
    return device;
}

std::vector<DeviceInfo> list_devices(std::vector<std::string>* notes) {
    std::vector<DeviceInfo> devices = {cpu_device()};
    for (int i = 0; i < device_count(); ++i) {
        Result<DeviceInfo> found = card(i);
        if (found) {
            devices.push_back(std::move(*found));
        } else if (notes != nullptr) {
            notes->push_back(Device{i}.id() + " is left out: " + found.error().message);
        }
    }
    return devices;
}

std::string kind_of_card(const std::string& name, std::uint64_t memory_bytes, double power_limit_w,
                         const std::string& mig_profile) {
    std::string kind;
    const auto add = [&kind](const std::string& word) {
        for (const char c : "-" + word) {
            const auto byte = static_cast<unsigned char>(c);
            if (std::isalnum(byte) != 0 || c == '.') {
                kind += static_cast<char>(std::tolower(byte));
            } else if (!kind.empty() && kind.back() != '-') {
                kind += '-';
            }
        }
    };
    add(name);
    // Rounded up: what a driver keeps for itself changes with its version.
    add(std::to_string((memory_bytes + (std::uint64_t{1} << 30) - 1) >> 30) + "gib");
    if (!mig_profile.empty()) {
        add(mig_profile);
    }
    if (power_limit_w > 0) {
        add(std::to_string(std::lround(power_limit_w)) + "w");
    }
    return kind;
}

}  // namespace bitsweep
