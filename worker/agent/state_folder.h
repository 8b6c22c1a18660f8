// The folder and the name of one worker process: locked while it lives, found again after a crash.
#pragma once

#include <filesystem>
#include <string>

#include "schemas/status.h"

namespace bitsweep::agent {

class StateFolder {
 public:
    // An empty `folder` is $XDG_STATE_HOME/bitsweep/worker-NAME (or ~/.local/state/...). An empty
    // `name` is HOST-1, HOST-2, ...: the first whose default folder no living worker holds, so that
    // a worker that is started again finds its results. already_exists: another worker holds it.
    static Result<StateFolder> take(std::filesystem::path folder, std::string name);

    ~StateFolder();
    StateFolder(StateFolder&& other) noexcept;
    StateFolder& operator=(StateFolder&&) = delete;

    const std::string& name() const { return name_; }
    std::filesystem::path outbox() const { return folder_ / "outbox"; }
    std::filesystem::path logs() const { return folder_ / "logs"; }
    const std::filesystem::path& path() const { return folder_; }

 private:
    StateFolder(std::filesystem::path folder, std::string name, int lock)
        : folder_(std::move(folder)), name_(std::move(name)), lock_(lock) {}

    std::filesystem::path folder_;
    std::string name_;
    int lock_;
};

std::string host_name();

}  // namespace bitsweep::agent
