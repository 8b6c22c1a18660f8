#include "worker/metrics/rapl.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

Result<std::uint64_t> read_counter(const fs::path& file) {
    errno = 0;
    std::ifstream in(file);
    std::uint64_t value = 0;
    if (in >> value) {
        return value;
    }
    return make_error(ErrorCode::unavailable,
                      file.string() + ": " + (errno != 0 ? std::strerror(errno) : "not a number") +
                          (errno == EACCES ? " (Linux lets only root read it)" : ""));
}

// A package is "intel-rapl:N" (AMD's too); "intel-rapl:N:M" is a part of it.
bool is_package(const std::string& name) {
    return name.starts_with("intel-rapl:") && name.find(':') == name.rfind(':');
}

}  // namespace

Result<CpuEnergy> read_cpu_energy(const fs::path& folder) {
    CpuEnergy energy;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(folder, code)) {
        const std::string name = entry.path().filename().string();
        if (is_package(name)) {
            energy.packages.push_back(
                {.name = name,
                 .energy_uj = TRY(read_counter(entry.path() / "energy_uj")),
                 .range_uj = TRY(read_counter(entry.path() / "max_energy_range_uj"))});
        }
    }
    if (energy.packages.empty()) {
        return make_error(ErrorCode::unavailable, "no RAPL counters under " + folder.string() +
                                                      " (virtual machines rarely have them)");
    }
    std::sort(energy.packages.begin(), energy.packages.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return energy;
}

Result<double> joules_between(const CpuEnergy& before, const CpuEnergy& after) {
    if (before.packages.size() != after.packages.size()) {
        return make_error(ErrorCode::corrupt, "the CPU's RAPL packages changed");
    }
    double joules = 0;
    for (std::size_t i = 0; i < before.packages.size(); ++i) {
        const CpuEnergy::Package& from = before.packages[i];
        const CpuEnergy::Package& to = after.packages[i];
        if (from.name != to.name) {
            return make_error(ErrorCode::corrupt, "the CPU's RAPL packages changed");
        }
        const std::uint64_t wrapped = to.energy_uj < from.energy_uj ? from.range_uj : 0;
        joules += static_cast<double>(to.energy_uj + wrapped - from.energy_uj) * 1e-6;
    }
    return joules;
}

}  // namespace bitsweep
