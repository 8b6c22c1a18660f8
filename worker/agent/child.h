// One runner process: posix_spawn (never fork: the agent has threads of libzmq), a process group of
// its own, lines in on its standard input, lines out on its descriptor 3, everything that it prints
// through a pipe into the log of the job at hand.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schemas/status.h"

namespace bitsweep::agent {

struct ChildEnd {
    int exit_status = 0;  // when signal is 0
    int signal = 0;
};

class Child {
 public:
    // `command`: program and arguments. not_found, io with the system's words.
    static Result<std::unique_ptr<Child>> start(const std::vector<std::string>& command);

    // Kills the whole group if it still lives, and reaps it.
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t pid() const { return pid_; }

    // Queues one line for its standard input; written as the pipe takes it, never blocking.
    void give(std::string_view line);
    // After what was queued is written, its standard input ends.
    void finish_input();

    // From now on its output goes here (created, appended to). An empty path: nowhere.
    void log_to(const std::filesystem::path& file);

    // Moves bytes both ways without blocking. The complete lines of descriptor 3 since last time.
    std::vector<std::string> exchange();

    // The end of the log since log_to(), at most 4 KiB.
    const std::string& log_tail() const { return log_tail_; }
    // Why descriptor 3 cannot be read any further: a line without end. "": fine.
    const std::string& flood() const { return flood_; }

    // To every process of its group.
    void signal(int number);

    // Its end, once it ended; then its group is gone too. The last lines come with exchange().
    std::optional<ChildEnd> reap();

    struct Descriptors {
        int read[2];  // result, output: for POLLIN; -1 when closed
        int write;    // standard input when there is something to write, for POLLOUT; else -1
    };
    Descriptors descriptors() const;

 private:
    Child() = default;
    void write_input();
    void read_output();
    void keep_log(const char* bytes, std::size_t count);

    pid_t pid_ = -1;
    int input_ = -1;
    int result_ = -1;
    int output_ = -1;
    int log_ = -1;
    bool has_job_ = false;
    std::uint64_t log_bytes_ = 0;
    std::string to_write_;
    bool end_input_ = false;
    std::string partial_;  // of descriptor 3
    std::string log_tail_;
    std::string flood_;
};

}  // namespace bitsweep::agent
