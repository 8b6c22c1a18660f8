#include "worker/agent/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

extern char** environ;

namespace bitsweep::agent {

bool open_pipe(Pipe& pipe) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    // A source descriptor of 0 to 3 would be overwritten before it is copied.
    pipe.read = fcntl(ends[0], F_DUPFD_CLOEXEC, 10);
    pipe.write = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
    close(ends[0]);
    close(ends[1]);
    return pipe.read >= 0 && pipe.write >= 0;
}

void close_if_open(int& descriptor) {
    if (descriptor >= 0) {
        close(descriptor);
        descriptor = -1;
    }
}

void close_pipe(Pipe& pipe) {
    close_if_open(pipe.read);
    close_if_open(pipe.write);
}

int spawn(pid_t& pid, const std::vector<std::string>& command, const std::vector<Handed>& handed) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int first_unknown = STDERR_FILENO + 1;
    for (const Handed& descriptor : handed) {
        posix_spawn_file_actions_adddup2(&actions, descriptor.ours, descriptor.theirs);
        first_unknown = std::max(first_unknown, descriptor.theirs + 1);
    }
    // Files that a library opened without close-on-exec: a runner that holds a lock of its agent,
    // or a card's device file, keeps it from others when the agent has gone.
    posix_spawn_file_actions_addclosefrom_np(&actions, first_unknown);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    // A runner whose agent died ends at its next line: SIGPIPE kills it, whatever we ignore.
    sigset_t defaults;
    sigemptyset(&defaults);
    for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
        sigaddset(&defaults, number);
    }
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);

    std::vector<char*> words;
    for (const std::string& word : command) {
        words.push_back(const_cast<char*>(word.c_str()));
    }
    words.push_back(nullptr);
    const int failure =
        posix_spawn(&pid, words.front(), &actions, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

}  // namespace bitsweep::agent
