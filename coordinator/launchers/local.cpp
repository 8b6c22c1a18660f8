// Workers as processes of this machine.
#include <csignal>

#include "coordinator/launchers/launcher.h"
#include "coordinator/launchers/process.h"

namespace bitsweep {

namespace {

class LocalWorker final : public LaunchedWorker {
 public:
    explicit LocalWorker(Process process) : process_(std::move(process)) {}

    // Its runners are in groups of their own and end when their worker's pipes close.
    ~LocalWorker() override {
        if (!released_) {
            process_.end();
        }
    }

    std::optional<int> ended() override { return process_.ended(); }
    void ask_to_stop() override { process_.signal(SIGTERM); }
    void kill() override { process_.signal(SIGKILL); }
    void release() override { released_ = true; }
    std::string name() const override { return "pid " + std::to_string(process_.pid()); }

 private:
    Process process_;
    bool released_ = false;
};

CommandWords words_of(const WorkerOrder& order) {
    CommandWords words = {order.program.string(), "worker"};
    words.insert(words.end(), order.arguments.begin(), order.arguments.end());
    return words;
}

class LocalLauncher final : public Launcher {
 public:
    Result<std::unique_ptr<LaunchedWorker>> start(const WorkerOrder& order) override {
        Process process = TRY(Process::start(words_of(order), Process::Input::none, order.log));
        return std::unique_ptr<LaunchedWorker>(std::make_unique<LocalWorker>(std::move(process)));
    }

    Result<std::string> describe(const WorkerOrder& order) override {
        return quote_words(words_of(order)) + " >> " + quote_word(order.log.string()) + " 2>&1";
    }
};

}  // namespace

std::unique_ptr<Launcher> make_local_launcher() {
    return std::make_unique<LocalLauncher>();
}

}  // namespace bitsweep
