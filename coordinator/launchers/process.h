// Child processes of the launchers: posix_spawn, a list of words, never a shell.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

using CommandWords = std::vector<std::string>;

// One process in a group of its own, so that Ctrl-C reaches only the command that started it.
class Process {
 public:
    enum class Input { none, pipe };

    // Output goes to `log` (appended to). `words[0]` without a slash is looked up in PATH.
    // not_found, io: with the system's words.
    static Result<Process> start(const CommandWords& words, Input input,
                                 const std::filesystem::path& log);

    Process(Process&& other) noexcept;
    Process& operator=(Process&&) = delete;
    ~Process();  // does not end it; see end()

    pid_t pid() const { return pid_; }
    // Its exit status once it ended; 128 + N for signal N.
    std::optional<int> ended();
    void signal(int number);
    void say(const std::string& text) const;  // to its input; lost when it does not listen
    void end();                               // kills it if it still runs, and reaps it

 private:
    Process(pid_t pid, int input) : pid_(pid), input_(input) {}
    void reap(int options);

    pid_t pid_;
    int input_;
    std::optional<int> status_;
};

struct Answer {
    int status = 0;      // exit status; 128 + N for signal N
    std::string output;  // both streams, at most 64 KiB
};

// Runs a command to its end with `input` on its standard input (at most 64 KiB, what a pipe holds).
// timeout: it was killed after `limit`.
Result<Answer> run_command(const CommandWords& words, const std::string& input, Duration limit);

// One word as a POSIX shell reads it back: for the shell that ssh starts on the other side, for job
// scripts and for people.
std::string quote_word(const std::string& word);
std::string quote_words(const CommandWords& words);

}  // namespace bitsweep
