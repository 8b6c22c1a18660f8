// Energy of the CPU packages, from RAPL counters that Linux shows under /sys/class/powercap.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

// Counters of every package at one moment, in microjoules; each wraps at its range.
struct CpuEnergy {
    struct Package {
        std::string name;  // "intel-rapl:0"
        std::uint64_t energy_uj = 0;
        std::uint64_t range_uj = 0;
    };
    std::vector<Package> packages;
};

// unavailable, with the reason: no counters here (a virtual machine), or only root may read them
// (Linux since 5.10).
Result<CpuEnergy> read_cpu_energy(const std::filesystem::path& folder = "/sys/class/powercap");

// Joules between two readings; a counter that went backwards wrapped once. corrupt: the packages of
// the two readings differ.
Result<double> joules_between(const CpuEnergy& before, const CpuEnergy& after);

}  // namespace bitsweep
