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
#include "schemas/time.h"

namespace bitsweep {

// What a batch system is asked for.
struct BatchRequest {
    Duration time_limit;               // 0: the partition's own
    std::string partition;             // empty: the default one
    std::string gres;                  // "gpu:h100:1"; empty: none
    std::vector<std::string> options;  // more of them, "--account=team"
};

struct WorkerOrder {
    std::filesystem::path program;       // `bitsweep`, as the machine of the worker knows it
    std::vector<std::string> arguments;  // after `bitsweep worker`
    std::filesystem::path log;           // what the worker prints; appended to
    std::string host;                    // ssh: a name that ~/.ssh/config or DNS knows
    std::string access;                  // ssh: text of the access file, handed over in private
    BatchRequest batch;                  // slurm
};

// A started worker. Destroying it ends it, unless it was released.
class LaunchedWorker {
 public:
    virtual ~LaunchedWorker() = default;
    // Its exit status once it ended; 128 + N for signal N.
    virtual std::optional<int> ended() = 0;
    virtual void ask_to_stop() = 0;  // it kills its job, says goodbye and ends
    virtual void kill() = 0;
    virtual void release() = 0;            // it lives on without us
    virtual std::string name() const = 0;  // "pid 71", "host a100-3", "Slurm job 12"
};

class Launcher {
 public:
    virtual ~Launcher() = default;
    // invalid_input: the order asks for something that this way cannot give; io, unavailable: it
    // could not be started, with the system's words.
    virtual Result<std::unique_ptr<LaunchedWorker>> start(const WorkerOrder& order) = 0;
    // What start() would do, as a person would type it; for --dry-run. Nothing is started.
    virtual Result<std::string> describe(const WorkerOrder& order) = 0;
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
std::unique_ptr<Launcher> make_ssh_launcher();    // ssh.cpp
std::unique_ptr<Launcher> make_slurm_launcher();  // slurm.cpp

}  // namespace bitsweep
