#include "tests/cli/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string contents(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<char*> pointers(Words& words) {
    std::vector<char*> result;
    for (std::string& word : words) {
        result.push_back(word.data());
    }
    result.push_back(nullptr);
    return result;
}

Words environment(const fs::path& folder, const Environment& more) {
    Environment all = {{"PATH", "/usr/bin:/bin"},
                       {"HOME", folder.string()},
                       {"XDG_STATE_HOME", (folder / "state").string()},
                       {"XDG_CONFIG_HOME", (folder / "config").string()}};
    for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
        if (const char* value = std::getenv(name)) {
            all[name] = value;
        }
    }
    for (const auto& [name, value] : more) {
        all[name] = value;
    }
    Words words;
    for (const auto& [name, value] : all) {
        words.push_back(name + "=" + value);
    }
    return words;
}

}  // namespace

std::string bitsweep_program() {
    return BITSWEEP_BIN_DIR "/bitsweep";
}

Program::Program(const fs::path& folder, const Words& words, const Environment& more) {
    static std::atomic<int> count{0};
    const std::string stem = "program-" + std::to_string(++count);
    out_file_ = folder / (stem + ".out");
    err_file_ = folder / (stem + ".err");
    Words arguments = words;
    Words variables = environment(folder, more);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out_file_.c_str(), O_CREAT | O_WRONLY, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err_file_.c_str(), O_CREAT | O_WRONLY, 0600);
    // A server that outlives a test must not hold the lock files of the test's own process.
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (posix_spawn(&pid_, arguments[0].c_str(), &actions, nullptr, pointers(arguments).data(),
                    pointers(variables).data()) != 0) {
        pid_ = -1;
        ended_ = true;
    }
    posix_spawn_file_actions_destroy(&actions);
}

Program::~Program() {
    if (running()) {
        signal(SIGKILL);
        wait(10);
    }
}

bool Program::running() {
    int status = 0;
    if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = true;
        code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return !ended_;
}

int Program::wait(int seconds) {
    const auto deadline = Clock::now() + std::chrono::seconds(seconds);
    while (running() && Clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (!ended_) {
        signal(SIGKILL);
        int status = 0;
        waitpid(pid_, &status, 0);
        ended_ = true;
        return -1;
    }
    return code_;
}

void Program::signal(int number) const {
    if (!ended_) {
        kill(pid_, number);
    }
}

std::string Program::out() const {
    return contents(out_file_);
}

std::string Program::err() const {
    return contents(err_file_);
}

bool Program::says(const std::string& text, int seconds) const {
    const auto deadline = Clock::now() + std::chrono::seconds(seconds);
    while (Clock::now() < deadline) {
        if (err().find(text) != std::string::npos) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

Ended bitsweep(const fs::path& folder, const Words& words, const Environment& more) {
    Words all = {bitsweep_program()};
    all.insert(all.end(), words.begin(), words.end());
    Program program(folder, all, more);
    const int code = program.wait(30);
    return {code, program.out(), program.err()};
}

}  // namespace bitsweep
