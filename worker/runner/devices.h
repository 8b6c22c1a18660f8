// Where a job computes: "cpu", or "cuda:N" with N as CUDA numbers the cards of this process
// (CUDA_VISIBLE_DEVICES respected, in the order of the PCI bus, so that N stays what it was).
#pragma once

#include <string>
#include <vector>

#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

struct Device {
    int ordinal = -1;  // below 0: the CPU

    bool is_cpu() const { return ordinal < 0; }
    std::string id() const { return is_cpu() ? "cpu" : "cuda:" + std::to_string(ordinal); }
};

// Before the first CUDA call of the process: numbers cards by PCI bus, unless the environment
// says otherwise.
void number_cards_by_bus();

// invalid_input: no name of a device; unsupported: a card, but this build has no CUDA; not_found:
// no such card, with what there is.
Result<Device> find_device(const std::string& text);

// The CPU, then every card. A card that cannot be asked is left out; `notes` says why, one line
// each, when not null.
std::vector<DeviceInfo> list_devices(std::vector<std::string>* notes);

// Name, memory and power limit of a card as one word, the same for equal cards:
// "nvidia-h100-80gb-hbm3-80gib-700w". power_limit_w 0: not known, left out.
std::string kind_of_card(const std::string& name, std::uint64_t memory_bytes, double power_limit_w,
                         const std::string& mig_profile);

}  // namespace bitsweep
