// Workers as processes of this machine: posix_spawn, a process group of their own.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "coordinator/launchers/launcher.h"

extern char** environ;

namespace bitsweep {

namespace {

class LocalWorker final : public LaunchedWorker {
 public:
    explicit LocalWorker(pid_t pid) : pid_(pid) {}

    // Its runners are in groups of their own and end when their worker's pipes close.
    ~LocalWorker() override {
        if (!ended()) {
            kill();
            reap(0);
        }
    }

    std::optional<int> ended() override {
        if (!status_) {
            reap(WNOHANG);
        }
        return status_;
    }

    void ask_to_stop() override { signal(SIGTERM); }
    void kill() override { signal(SIGKILL); }

 private:
    void signal(int number) {
        if (!status_) {
            ::kill(pid_, number);
        }
    }

    void reap(int options) {
        int status = 0;
        pid_t reaped = 0;
        do {
            reaped = waitpid(pid_, &status, options);
        } while (reaped < 0 && errno == EINTR);
        if (reaped == pid_) {
            status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
    }

    pid_t pid_;
    std::optional<int> status_;
};

class LocalLauncher final : public Launcher {
 public:
    Result<std::unique_ptr<LaunchedWorker>> start(const WorkerOrder& order) override {
        std::vector<std::string> words = {order.program.string(), "worker"};
        words.insert(words.end(), order.arguments.begin(), order.arguments.end());
        std::vector<char*> arguments;
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);

        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, order.log.c_str(),
                                         O_CREAT | O_WRONLY | O_APPEND, 0600);
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
        posix_spawnattr_t attributes;
        posix_spawnattr_init(&attributes);
        // Its own group: Ctrl-C reaches the command that started it, which stops it in order.
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
        pid_t pid = -1;
        const int failure = posix_spawn(&pid, order.program.c_str(), &actions, &attributes,
                                        arguments.data(), environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        if (failure != 0) {
            return make_error(ErrorCode::io, "cannot start a worker (" + order.program.string() +
                                                 ", log " + order.log.string() +
                                                 "): " + std::strerror(failure));
        }
        return std::unique_ptr<LaunchedWorker>(std::make_unique<LocalWorker>(pid));
    }
};

}  // namespace

std::unique_ptr<Launcher> make_local_launcher() {
    return std::make_unique<LocalLauncher>();
}

}  // namespace bitsweep
