// Ways to start a worker. One row in table.cpp and one file each.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

struct WorkerOrder {
    std::filesystem::path program;       // this `bitsweep`
    std::vector<std::string> arguments;  // after `bitsweep worker`
    std::filesystem::path log;           // what the worker prints; appended to
};

// A started worker. Destroying it ends it.
class LaunchedWorker {
 public:
    virtual ~LaunchedWorker() = default;
    // Its exit status once it ended; 128 + N for signal N.
    virtual std::optional<int> ended() = 0;
    virtual void ask_to_stop() = 0;  // it kills its job, says goodbye and ends
    virtual void kill() = 0;
};

class Launcher {
 public:
    virtual ~Launcher() = default;
    // io: it could not be started, with the reason.
    virtual Result<std::unique_ptr<LaunchedWorker>> start(const WorkerOrder& order) = 0;
};

struct LauncherRow {
    std::string_view name;
    std::string_view summary;
    std::unique_ptr<Launcher> (*make)();
};

std::span<const LauncherRow> launcher_table();

// not_found lists the known ones.
Result<std::unique_ptr<Launcher>> make_launcher(std::string_view name);

std::unique_ptr<Launcher> make_local_launcher();  // local.cpp

}  // namespace bitsweep
