// What this machine can run, asked from `bitsweep-runner capabilities` (README.md has the format).
#pragma once

#include <atomic>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep::agent {

struct Capabilities {
    std::string version;
    std::vector<DeviceInfo> devices;
    std::vector<std::string> models;  // names that it finds
};

// `given` when not empty, else BITSWEEP_RUNNER, else bitsweep-runner beside this program.
// not_found names the file and how to say where it is.
Result<std::filesystem::path> find_runner(const std::filesystem::path& given);

inline const std::atomic<bool> never_stop{false};

// Runs it. timeout; interrupted: `stop` became true (looked at five times a second); io: it cannot
// start or ends with an error (its own words are in the message); corrupt: it prints something
// else. `models`: folders beside its own defaults.
Result<Capabilities> ask_runner(const std::filesystem::path& runner,
                                const std::vector<std::filesystem::path>& models, Duration limit,
                                const std::atomic<bool>& stop = never_stop);

Result<Capabilities> parse_capabilities(std::string_view json);

// Which of the devices a worker offers.
struct DeviceChoice {
    bool cpu = false;  // --cpu
    std::string gpus;  // --gpus: "all" or indices "0,2"; empty: not given
};

// With neither flag: every GPU, or the CPU where there is none. not_found names what there is.
Result<std::vector<DeviceInfo>> choose_devices(const std::vector<DeviceInfo>& found,
                                               const DeviceChoice& choice);

}  // namespace bitsweep::agent
