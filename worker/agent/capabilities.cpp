#include "worker/agent/capabilities.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "schemas/codec.h"
#include "worker/agent/spawn.h"

namespace bitsweep::agent {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_output = 1u << 20;

constexpr long glance_ms = 200;  // a signal may come between a look at the flag and the wait

// Appends what the pipe has until it closes, `deadline` passes, somebody wants to stop or there is
// too much.
void read_until(int descriptor, std::string& text, std::chrono::steady_clock::time_point deadline,
                const std::atomic<bool>& stop) {
    char buffer[4'096];
    while (text.size() < most_output && !stop.load()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        const long wait = std::clamp<long>(left.count(), 0, glance_ms);
        pollfd item{descriptor, POLLIN, 0};
        const int ready = poll(&item, 1, static_cast<int>(wait));
        if ((ready < 0 && errno == EINTR) || (ready == 0 && wait < left.count())) {
            continue;
        }
        const ssize_t count = ready > 0 ? read(descriptor, buffer, sizeof buffer) : 0;
        if (count <= 0) {
            return;
        }
        text.append(buffer, static_cast<std::size_t>(count));
    }
}

std::string last_line(const std::string& text) {
    std::istringstream lines(text);
    std::string line;
    std::string last;
    while (std::getline(lines, line)) {
        last = line.empty() ? last : line;
    }
    return last;
}

std::string names_of(const std::vector<DeviceInfo>& devices) {
    std::string names;
    for (const DeviceInfo& device : devices) {
        names += (names.empty() ? "" : ", ") + device.id;
    }
    return names.empty() ? "none" : names;
}

}  // namespace

Result<fs::path> find_runner(const fs::path& given) {
    const char* variable = std::getenv("BITSWEEP_RUNNER");
    fs::path runner = given;
    if (runner.empty() && variable != nullptr && *variable != '\0') {
        runner = variable;
    }
    std::error_code code;
    if (runner.empty()) {
        runner = fs::read_symlink("/proc/self/exe", code).parent_path() / "bitsweep-runner";
    }
    if (!fs::is_regular_file(runner, code) || access(runner.c_str(), X_OK) != 0) {
        return make_error(ErrorCode::not_found,
                          "there is no program " + runner.string() +
                              "; build it, or say where it is with --runner or BITSWEEP_RUNNER");
    }
    return fs::absolute(runner, code);
}

Result<Capabilities> ask_runner(const fs::path& runner, const std::vector<fs::path>& models,
                                Duration limit, const std::atomic<bool>& stop) {
    Pipe output;
    Pipe words;
    if (!open_pipe(output) || !open_pipe(words)) {
        return make_error(ErrorCode::io, std::string("pipe: ") + std::strerror(errno));
    }
    pid_t pid = -1;
    std::vector<std::string> command = {runner.string(), "capabilities"};
    for (const fs::path& folder : models) {
        command.insert(command.end(), {"--models", folder.string()});
    }
    const int failure =
        spawn(pid, command, {{output.write, STDOUT_FILENO}, {words.write, STDERR_FILENO}});
    close_if_open(output.write);
    close_if_open(words.write);
    if (failure != 0) {
        close_pipe(output);
        close_pipe(words);
        return make_error(ErrorCode::io,
                          "cannot start " + runner.string() + ": " + std::strerror(failure));
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit.ms);
    std::string text;
    std::string complaints;
    read_until(output.read, text, deadline, stop);
    const bool late = std::chrono::steady_clock::now() >= deadline;
    if (late || stop.load() || text.size() >= most_output) {
        kill(-pid, SIGKILL);
    }
    read_until(words.read, complaints, std::chrono::steady_clock::now() + std::chrono::seconds(1),
               stop);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    close_pipe(output);
    close_pipe(words);
    if (stop.load()) {
        return make_error(ErrorCode::interrupted,
                          "interrupted while " + runner.string() + " looked for devices");
    }
    if (late) {
        return make_error(ErrorCode::timeout, runner.string() + " capabilities gave no answer in " +
                                                  std::to_string(limit.ms / 1'000) + " s");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return make_error(ErrorCode::io,
                          runner.string() + " capabilities failed: " +
                              (complaints.empty() ? "it said nothing" : last_line(complaints)));
    }
    return parse_capabilities(text);
}

Result<Capabilities> parse_capabilities(std::string_view json) {
    Result<Message> message = message_from_json(json);
    if (!message) {
        return make_error(ErrorCode::corrupt,
                          "the runner's capabilities: " + message.error().message);
    }
    auto* hello = std::get_if<Hello>(&*message);
    if (hello == nullptr) {
        return make_error(ErrorCode::corrupt, "the runner's capabilities are no hello message");
    }
    return Capabilities{hello->version, std::move(hello->devices), std::move(hello->models)};
}

Result<std::vector<DeviceInfo>> choose_devices(const std::vector<DeviceInfo>& found,
                                               const DeviceChoice& choice) {
    const bool any_gpu = std::any_of(found.begin(), found.end(),
                                     [](const DeviceInfo& device) { return device.id != "cpu"; });
    const bool all_gpus = choice.gpus == "all" || (choice.gpus.empty() && !choice.cpu && any_gpu);
    const bool cpu = choice.cpu || (choice.gpus.empty() && !any_gpu);
    std::vector<std::string> wanted;
    std::istringstream indices(choice.gpus == "all" ? "" : choice.gpus);
    for (std::string index; std::getline(indices, index, ',');) {
        wanted.push_back("cuda:" + index);
    }
    std::vector<DeviceInfo> chosen;
    for (const DeviceInfo& device : found) {
        const auto named = std::find(wanted.begin(), wanted.end(), device.id);
        if (device.id == "cpu" ? cpu : (all_gpus || named != wanted.end())) {
            chosen.push_back(device);
        }
        if (named != wanted.end()) {
            wanted.erase(named);
        }
    }
    if (!wanted.empty() || chosen.empty()) {
        return make_error(ErrorCode::not_found, (wanted.empty() ? std::string("no such device")
                                                                : "no device " + wanted.front()) +
                                                    " here; this machine has: " + names_of(found));
    }
    return chosen;
}

}  // namespace bitsweep::agent
