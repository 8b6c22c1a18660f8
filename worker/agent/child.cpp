#include "worker/agent/child.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "worker/agent/spawn.h"

namespace bitsweep::agent {

namespace {

constexpr std::size_t tail_bytes = 4'096;
constexpr std::uint64_t log_limit = 8u << 20;    // a runner that prints in a loop fills no disk
constexpr std::size_t line_limit = 64u << 20;    // as long as a message
constexpr std::size_t read_per_turn = 1u << 20;  // one flooding runner does not starve the rest
constexpr int result_descriptor = 3;
constexpr const char* victim = "500";  // of at most 1,000: before the worker, before a shell

// When memory runs out, the kernel takes a runner, which is a result, and not its worker.
void offer_to_kernel(pid_t pid) {
    const std::string file = "/proc/" + std::to_string(pid) + "/oom_score_adj";
    const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        [[maybe_unused]] const ssize_t written = write(descriptor, victim, std::strlen(victim));
        close(descriptor);
    }
}

void never_block(int descriptor) {
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

}  // namespace

Result<std::unique_ptr<Child>> Child::start(const std::vector<std::string>& command) {
    Pipe input;
    Pipe result;
    Pipe output;
    if (!open_pipe(input) || !open_pipe(result) || !open_pipe(output)) {
        Error error = make_error(ErrorCode::io, std::string("pipe: ") + std::strerror(errno));
        close_pipe(input);
        close_pipe(result);
        close_pipe(output);
        return error;
    }
    std::unique_ptr<Child> child(new Child);
    const std::vector<Handed> handed = {{input.read, STDIN_FILENO},
                                        {output.write, STDOUT_FILENO},
                                        {output.write, STDERR_FILENO},
                                        {result.write, result_descriptor}};
    const int failure = spawn(child->pid_, command, handed);
    close_if_open(input.read);
    close_if_open(result.write);
    close_if_open(output.write);
    child->input_ = input.write;
    child->result_ = result.read;
    child->output_ = output.read;
    if (failure != 0) {
        child->pid_ = -1;
        return make_error(failure == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                          "cannot start " + command.front() + ": " + std::strerror(failure));
    }
    offer_to_kernel(child->pid_);
    never_block(child->input_);
    never_block(child->result_);
    never_block(child->output_);
    return child;
}

Child::~Child() {
    if (pid_ > 0) {
        signal(SIGKILL);
        int status = 0;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
    }
    close_if_open(input_);
    close_if_open(result_);
    close_if_open(output_);
    close_if_open(log_);
}

void Child::give(std::string_view line) {
    to_write_.append(line);
    to_write_.push_back('\n');
    write_input();
}

void Child::finish_input() {
    end_input_ = true;
    write_input();
}

void Child::log_to(const std::filesystem::path& file) {
    if (has_job_) {
        read_output();  // what the last job printed stays in its log
        log_tail_.clear();
    }
    close_if_open(log_);
    log_bytes_ = 0;
    if (!file.empty()) {
        log_ = open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    }
    if (!has_job_) {  // what it printed as it started may be all that it ever says
        has_job_ = true;
        const std::string start = std::move(log_tail_);
        log_tail_.clear();
        keep_log(start.data(), start.size());
    }
}

std::vector<std::string> Child::exchange() {
    write_input();
    read_output();
    std::vector<std::string> lines;
    char buffer[65'536];
    std::size_t taken = 0;
    while (result_ >= 0 && taken < read_per_turn) {
        const ssize_t count = read(result_, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            break;
        }
        if (count <= 0) {
            close_if_open(result_);
            break;
        }
        taken += static_cast<std::size_t>(count);
        partial_.append(buffer, static_cast<std::size_t>(count));
        std::size_t start = 0;
        for (std::size_t end; (end = partial_.find('\n', start)) != std::string::npos;) {
            lines.push_back(partial_.substr(start, end - start));
            start = end + 1;
        }
        partial_.erase(0, start);
        if (partial_.size() > line_limit) {
            flood_ = "a line of more than " + std::to_string(line_limit >> 20) + " MiB";
            partial_.clear();
            close_if_open(result_);
        }
    }
    if (result_ < 0 && !partial_.empty()) {
        lines.push_back(std::move(partial_));  // cut short: it will not parse, which is evidence
        partial_.clear();
    }
    return lines;
}

void Child::signal(int number) {
    if (pid_ > 0) {
        kill(-pid_, number);
    }
}

std::optional<ChildEnd> Child::reap() {
    if (pid_ <= 0) {
        return std::nullopt;
    }
    // Look first, reap last: until then the group's number cannot belong to somebody else.
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
        return std::nullopt;
    }
    kill(-pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    read_output();
    ChildEnd end;
    if (WIFSIGNALED(status)) {
        end.signal = WTERMSIG(status);
    } else {
        end.exit_status = WEXITSTATUS(status);
    }
    return end;
}

Child::Descriptors Child::descriptors() const {
    return {{result_, output_}, to_write_.empty() ? -1 : input_};
}

void Child::write_input() {
    while (input_ >= 0 && !to_write_.empty()) {
        const ssize_t count = write(input_, to_write_.data(), to_write_.size());
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            return;
        }
        if (count <= 0) {
            to_write_.clear();  // it stopped reading; its end will say why
            close_if_open(input_);
            return;
        }
        to_write_.erase(0, static_cast<std::size_t>(count));
    }
    if (end_input_) {
        close_if_open(input_);
    }
}

void Child::read_output() {
    char buffer[65'536];
    std::size_t taken = 0;
    while (output_ >= 0 && taken < read_per_turn) {
        const ssize_t count = read(output_, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            return;
        }
        if (count <= 0) {
            close_if_open(output_);
            return;
        }
        taken += static_cast<std::size_t>(count);
        keep_log(buffer, static_cast<std::size_t>(count));
    }
}

void Child::keep_log(const char* bytes, std::size_t count) {
    log_tail_.append(bytes, count);
    if (log_tail_.size() > tail_bytes) {
        log_tail_.erase(0, log_tail_.size() - tail_bytes);
    }
    if (log_ < 0 || log_bytes_ >= log_limit) {
        return;
    }
    log_bytes_ += count;
    // A log that cannot be written (disk full) is no reason to end a measurement.
    [[maybe_unused]] const ssize_t written = write(log_, bytes, count);
    if (log_bytes_ >= log_limit) {
        constexpr std::string_view note = "\n[the log ends here: 8 MiB]\n";
        [[maybe_unused]] const ssize_t noted = write(log_, note.data(), note.size());
    }
}

}  // namespace bitsweep::agent
