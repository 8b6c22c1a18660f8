// Child processes of a benchmark: this program in another role, what it prints, what it costs.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace bitsweep {

struct Process {
    pid_t pid = -1;
    int out = -1;  // its stdout

    std::string last_line() {  // newest complete line that was printed; "" while none was
        char buffer[65536];
        for (;;) {
            const ssize_t got = read(out, buffer, sizeof buffer);
            if (got <= 0) {
                break;
            }
            text_.append(buffer, static_cast<std::size_t>(got));
        }
        const std::size_t end = text_.rfind('\n');
        if (end == std::string::npos) {
            return line_;
        }
        const std::size_t start = end == 0 ? std::string::npos : text_.rfind('\n', end - 1);
        line_ = text_.substr(start == std::string::npos ? 0 : start + 1,
                             end - (start == std::string::npos ? 0 : start + 1));
        text_.erase(0, end + 1);
        return line_;
    }

    void end(int signal) {
        if (pid > 0) {
            kill(pid, signal);
            waitpid(pid, nullptr, 0);
            close(out);
            pid = -1;
        }
    }

 private:
    std::string text_;
    std::string line_;
};

inline Process start(std::vector<std::string> arguments) {
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        std::exit(2);
    }
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    arguments.insert(arguments.begin(), "bench_dispatch");
    std::vector<char*> argv;
    for (std::string& argument : arguments) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    Process process;
    if (posix_spawn(&process.pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ) != 0) {
        std::exit(2);
    }
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    process.out = pipes[0];
    return process;
}

inline double rss_mib(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(in, line);) {
        if (line.rfind("VmRSS:", 0) == 0) {
            return std::stod(line.substr(6)) / 1024;
        }
    }
    return 0;
}

inline double cpu_seconds(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(in, line);
    std::istringstream fields(line.substr(line.rfind(')') + 2));
    std::string word;
    double ticks = 0;
    for (int i = 3; fields >> word && i <= 15; ++i) {
        ticks += i == 14 || i == 15 ? std::stod(word) : 0;  // user and system time
    }
    return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace bitsweep
