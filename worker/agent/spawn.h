// posix_spawn with pipes, for runners and for their one-shot questions.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace bitsweep::agent {

// Both ends are closed on exec and lie above the descriptors that a child is given.
struct Pipe {
    int read = -1;
    int write = -1;
};

bool open_pipe(Pipe& pipe);  // false: errno says why
void close_pipe(Pipe& pipe);
void close_if_open(int& descriptor);  // and sets it to -1

struct Handed {
    int ours;    // must not be below 4
    int theirs;  // number in the child
};

// Starts command[0] (a path) in a process group of its own with default signals and an empty mask.
// It has the standard descriptors and what it was handed, nothing else.
// 0, or an errno.
int spawn(pid_t& pid, const std::vector<std::string>& command, const std::vector<Handed>& handed);

}  // namespace bitsweep::agent
