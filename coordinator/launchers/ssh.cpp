// Workers on machines that ssh reaches. The worker's access file goes over the connection's
// standard input and touches no disk there; so do the words that stop it. When the connection
// breaks, the worker goes on: its session with the coordinator is another one.
#include <algorithm>
#include <csignal>

#include "coordinator/launchers/launcher.h"
#include "coordinator/launchers/process.h"

namespace bitsweep {

namespace {

class SshWorker final : public LaunchedWorker {
 public:
    SshWorker(Process process, std::string host)
        : process_(std::move(process)), host_(std::move(host)) {}

    ~SshWorker() override {
        if (!released_) {
            if (!process_.ended()) {
                ask_to_stop();
            }
            process_.end();
        }
    }

    std::optional<int> ended() override { return process_.ended(); }
    void ask_to_stop() override { process_.say("stop\n"); }
    void kill() override { process_.signal(SIGKILL); }
    void release() override { released_ = true; }
    std::string name() const override { return "host " + host_; }

 private:
    Process process_;
    std::string host_;
    bool released_ = false;
};

// A host name is data: one that starts with a dash would be an option of ssh.
Status check_host(const std::string& host) {
    const bool fits =
        !host.empty() && host.size() <= 255 && host.front() != '-' &&
        std::all_of(host.begin(), host.end(), [](unsigned char c) {
            return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == '@' || c == ':';
        });
    if (fits) {
        return {};
    }
    return make_error(ErrorCode::invalid_input,
                      "`" + host +
                          "` is no host for ssh: letters, digits, `.`, `-`, `_`, `user@host`; "
                          "everything else belongs into ~/.ssh/config");
}

Result<CommandWords> words_of(const WorkerOrder& order) {
    TRY(check_host(order.host));
    // ssh hands its words to a shell on the other side: they are quoted for it.
    CommandWords remote = {order.program.string(), "worker", "--access", "-",
                           "--orders-from-input"};
    remote.insert(remote.end(), order.arguments.begin(), order.arguments.end());
    return CommandWords{"ssh",
                        "-T",
                        "-o",
                        "BatchMode=yes",  // a question for a password would wait for ever
                        "-o",
                        "ConnectTimeout=15",
                        "-o",
                        "ServerAliveInterval=15",
                        "-o",
                        "ServerAliveCountMax=4",
                        "--",
                        order.host,
                        quote_words(remote)};
}

std::string on_one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text + "\n";
}

class SshLauncher final : public Launcher {
 public:
    Result<std::unique_ptr<LaunchedWorker>> start(const WorkerOrder& order) override {
        const CommandWords words = TRY(words_of(order));
        if (order.access.empty()) {
            return make_error(ErrorCode::invalid_input, "a worker over ssh needs an access file");
        }
        Process process = TRY(Process::start(words, Process::Input::pipe, order.log));
        process.say(on_one_line(order.access));
        return std::unique_ptr<LaunchedWorker>(
            std::make_unique<SshWorker>(std::move(process), order.host));
    }

    Result<std::string> describe(const WorkerOrder& order) override {
        return quote_words(TRY(words_of(order))) + " < ACCESS.json >> " +
               quote_word(order.log.string()) + " 2>&1";
    }
};

}  // namespace

std::unique_ptr<Launcher> make_ssh_launcher() {
    return std::make_unique<SshLauncher>();
}

}  // namespace bitsweep
