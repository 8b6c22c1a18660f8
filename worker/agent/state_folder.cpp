#include "worker/agent/state_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace bitsweep::agent {

namespace {

namespace fs = std::filesystem;

constexpr int most_workers_of_a_host = 256;

Result<fs::path> default_folder(const std::string& name) {
    if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg != nullptr && *xdg == '/') {
        return fs::path(xdg) / "bitsweep" / ("worker-" + name);
    }
    if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
        return fs::path(home) / ".local/state/bitsweep" / ("worker-" + name);
    }
    return make_error(ErrorCode::invalid_input, "no HOME to keep state in; give --state DIR");
}

// The lock's descriptor. already_exists when another process holds it.
Result<int> lock_folder(const fs::path& folder) {
    std::error_code code;
    fs::create_directories(folder / "logs", code);
    if (code) {
        return make_error(ErrorCode::io, "cannot make the state folder " + folder.string() + ": " +
                                             code.message() + "; give --state DIR");
    }
    fs::permissions(folder, fs::perms::owner_all, code);  // results and logs are nobody else's
    const int descriptor = open((folder / "lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        return make_error(ErrorCode::io,
                          "cannot lock " + folder.string() + ": " + std::strerror(errno));
    }
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        close(descriptor);
        return make_error(
            ErrorCode::already_exists,
            "another worker uses " + folder.string() + "; give this one another --name or --state");
    }
    return descriptor;
}

Status check_name(const std::string& name) {
    const bool fits = name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
                          return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' ||
                                 c == '_' || c == '.';
                      });
    if (fits) {
        return {};
    }
    return make_error(ErrorCode::invalid_input,
                      "--name " + name + ": up to 64 letters, digits, `-`, `_` and `.`");
}

}  // namespace

std::string host_name() {
    char name[256] = {};
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') {
        return "host";
    }
    std::string host(name);
    host = host.substr(0, std::min(host.find('.'), std::size_t{48}));
    std::replace_if(
        host.begin(), host.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '-'; },
        '-');
    return host.empty() ? "host" : host;
}

Result<StateFolder> StateFolder::take(fs::path folder, std::string name) {
    TRY(check_name(name));
    if (!folder.empty() || !name.empty()) {
        if (name.empty()) {
            name = host_name() + "-" + folder.filename().string();
            std::replace_if(
                name.begin(), name.end(),
                [](unsigned char c) { return std::isalnum(c) == 0 && c != '-'; }, '-');
            name.resize(std::min<std::size_t>(name.size(), 64));
        }
        if (folder.empty()) {
            folder = TRY(default_folder(name));
        }
        const int lock = TRY(lock_folder(folder));
        return StateFolder(std::move(folder), std::move(name), lock);
    }
    for (int number = 1; number <= most_workers_of_a_host; ++number) {
        const std::string candidate = host_name() + "-" + std::to_string(number);
        const fs::path place = TRY(default_folder(candidate));
        const Result<int> lock = lock_folder(place);
        if (lock) {
            return StateFolder(place, candidate, *lock);
        }
        if (lock.error().code != ErrorCode::already_exists) {
            return lock.error();
        }
    }
    return make_error(ErrorCode::already_exists,
                      std::to_string(most_workers_of_a_host) +
                          " workers live on this machine; give --name and --state");
}

StateFolder::StateFolder(StateFolder&& other) noexcept
    : folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      lock_(std::exchange(other.lock_, -1)) {}

StateFolder::~StateFolder() {
    if (lock_ >= 0) {
        close(lock_);
    }
}

}  // namespace bitsweep::agent
