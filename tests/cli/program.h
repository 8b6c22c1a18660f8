// Runs the built programs as a person would: arguments in, exit code and both streams out.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace bitsweep {

using Words = std::vector<std::string>;
using Environment = std::map<std::string, std::string>;  // added to a clean one

// The built `bitsweep`.
std::string bitsweep_program();

class Program {
 public:
    // Starts at once, in `folder`, with both streams in files there. HOME and XDG_* point into
    // `folder`, so that nothing of the person who runs the tests is read or written.
    Program(const std::filesystem::path& folder, const Words& words, const Environment& more = {});
    ~Program();  // kills it if it still runs
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    // Its exit code, 128 + N for signal N; -1 when it did not end in time (then it is killed).
    int wait(int seconds);
    bool running();
    void signal(int number) const;
    pid_t pid() const { return pid_; }

    std::string out() const;  // so far
    std::string err() const;

    // False when `text` did not appear on standard error in time.
    bool says(const std::string& text, int seconds) const;

 private:
    pid_t pid_ = -1;
    int code_ = -1;
    bool ended_ = false;
    std::filesystem::path out_file_;
    std::filesystem::path err_file_;
};

struct Ended {
    int code = -1;
    std::string out;
    std::string err;
};

// Runs `bitsweep WORDS` to its end, at most half a minute.
Ended bitsweep(const std::filesystem::path& folder, const Words& words,
               const Environment& more = {});

}  // namespace bitsweep
