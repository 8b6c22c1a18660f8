#include "coordinator/launchers/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;

namespace bitsweep {

namespace {

constexpr std::size_t most_bytes = 65'536;

struct Pipe {
    int read = -1;
    int write = -1;

    static Result<Pipe> open() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) {
            return make_error(ErrorCode::io, std::string("pipe: ") + std::strerror(errno));
        }
        return Pipe{ends[0], ends[1]};
    }
};

void close_if_open(int& descriptor) {
    if (descriptor >= 0) {
        close(std::exchange(descriptor, -1));
    }
}

// Descriptors that the child gets as its standard ones; -1: /dev/null or `log`.
struct Streams {
    int input = -1;
    int output = -1;
    std::filesystem::path log = "/dev/null";
};

Result<pid_t> spawn(const CommandWords& words, const Streams& streams) {
    std::vector<char*> arguments;
    for (const std::string& word : words) {
        arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (streams.input >= 0) {
        posix_spawn_file_actions_adddup2(&actions, streams.input, STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    if (streams.output >= 0) {
        posix_spawn_file_actions_adddup2(&actions, streams.output, STDOUT_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, streams.log.c_str(),
                                         O_CREAT | O_WRONLY | O_APPEND, 0600);
    }
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    // Nothing of ours that a library left open on exec, a lock least of all.
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t defaults;
    sigemptyset(&defaults);
    for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP}) {
        sigaddset(&defaults, number);
    }
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = -1;
    const int failure =
        posix_spawnp(&pid, words.front().c_str(), &actions, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0) {
        return make_error(failure == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                          "cannot start " + words.front() + " (log " + streams.log.string() +
                              "): " + std::strerror(failure));
    }
    return pid;
}

int status_of(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Result<Process> Process::start(const CommandWords& words, Input input,
                               const std::filesystem::path& log) {
    Pipe pipe;
    if (input == Input::pipe) {
        pipe = TRY(Pipe::open());
    }
    Result<pid_t> pid = spawn(words, {pipe.read, -1, log});
    close_if_open(pipe.read);
    if (!pid) {
        close_if_open(pipe.write);
        return pid.error();
    }
    if (pipe.write >= 0) {
        fcntl(pipe.write, F_SETFL, O_NONBLOCK);
    }
    return Process(*pid, pipe.write);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      input_(std::exchange(other.input_, -1)),
      status_(std::exchange(other.status_, std::nullopt)) {}

Process::~Process() {
    close_if_open(input_);
}

void Process::reap(int options) {
    int status = 0;
    pid_t reaped = 0;
    do {
        reaped = waitpid(pid_, &status, options);
    } while (reaped < 0 && errno == EINTR);
    if (reaped == pid_) {
        status_ = status_of(status);
    }
}

std::optional<int> Process::ended() {
    if (!status_ && pid_ > 0) {
        reap(WNOHANG);
    }
    return status_;
}

void Process::signal(int number) {
    if (pid_ > 0 && !ended()) {
        kill(pid_, number);
    }
}

void Process::say(const std::string& text) const {
    if (input_ >= 0) {
        [[maybe_unused]] const ssize_t written = write(input_, text.data(), text.size());
    }
}

void Process::end() {
    if (pid_ > 0 && !ended()) {
        kill(pid_, SIGKILL);
        reap(0);
    }
}

Result<Answer> run_command(const CommandWords& words, const std::string& input, Duration limit) {
    if (input.size() >= most_bytes) {
        return make_error(ErrorCode::invalid_input,
                          "more than 64 KiB of input for " + words.front());
    }
    Pipe to = TRY(Pipe::open());
    Result<Pipe> from = Pipe::open();
    Result<pid_t> pid =
        from ? spawn(words, {to.read, from->write, "/dev/null"}) : Result<pid_t>(from.error());
    close_if_open(to.read);
    if (pid) {
        [[maybe_unused]] const ssize_t written = write(to.write, input.data(), input.size());
    }
    close_if_open(to.write);
    if (!pid) {
        if (from) {
            close_if_open(from->read);
            close_if_open(from->write);
        }
        return pid.error();
    }
    close_if_open(from->write);
    Answer answer;
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(limit.ms);
    bool open = true;
    while (open && answer.output.size() < most_bytes && Clock::now() < deadline) {
        pollfd item{from->read, POLLIN, 0};
        poll(&item, 1, 100);
        char buffer[4'096];
        const ssize_t count = item.revents != 0 ? read(from->read, buffer, sizeof buffer) : -1;
        if (count > 0) {
            answer.output.append(buffer, static_cast<std::size_t>(count));
        }
        open = item.revents == 0 || count > 0;
    }
    close_if_open(from->read);
    if (open) {
        kill(-*pid, SIGKILL);
    }
    int status = 0;
    while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (open) {
        return make_error(ErrorCode::timeout, words.front() + " gave no answer in " +
                                                  std::to_string(limit.ms / 1'000) + " s");
    }
    answer.status = status_of(status);
    return answer;
}

std::string quote_word(const std::string& word) {
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || std::strchr("-_./:=,@%+", c) != nullptr;
    });
    if (plain) {
        return word;
    }
    std::string quoted = "'";
    for (const char c : word) {
        quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    return quoted + "'";
}

std::string quote_words(const CommandWords& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : " ") + quote_word(word);
    }
    return text;
}

}  // namespace bitsweep
