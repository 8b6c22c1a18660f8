// Workers as jobs of Slurm: one batch script for each, given to sbatch on its standard input.
#include <algorithm>
#include <chrono>

#include "coordinator/launchers/launcher.h"
#include "coordinator/launchers/process.h"

namespace bitsweep {

namespace {

// sbatch answers in 8 to 24 ms, squeue with its controller down after 9 s (measured).
constexpr Duration patience{30'000};
constexpr Duration look_every{5'000};
// Before its end Slurm sends SIGTERM, on which the worker gives its job back.
constexpr int warning_s = 60;
// The worker stops taking jobs before that.
constexpr Duration margin{120'000};

class SlurmWorker final : public LaunchedWorker {
 public:
    explicit SlurmWorker(std::string id) : id_(std::move(id)) {}

    ~SlurmWorker() override {
        if (!released_ && !ended_) {
            kill();
        }
    }

    // Slurm keeps no exit status that squeue would tell: 0 once the job has left the queue.
    std::optional<int> ended() override {
        using Clock = std::chrono::steady_clock;
        if (ended_ || Clock::now() < next_look_) {
            return ended_;
        }
        next_look_ = Clock::now() + std::chrono::milliseconds(look_every.ms);
        const Result<Answer> queue =
            run_command({"squeue", "--noheader", "--jobs", id_, "--format", "%T"}, "", patience);
        const bool unknown =
            queue && queue->output.find("Invalid job id") != std::string::npos;  // long gone
        const bool left = queue && queue->status == 0 &&
                          queue->output.find_first_not_of(" \n") == std::string::npos;
        if (unknown || left) {
            ended_ = 0;
        }
        return ended_;
    }

    void ask_to_stop() override {
        (void)run_command({"scancel", "--batch", "--signal=TERM", id_}, "", patience);
    }
    void kill() override { (void)run_command({"scancel", id_}, "", patience); }
    void release() override { released_ = true; }
    std::string name() const override { return "Slurm job " + id_; }

 private:
    std::string id_;
    bool released_ = false;
    std::optional<int> ended_;
    std::chrono::steady_clock::time_point next_look_{};
};

// A directive ends at its line: what a line may hold is checked.
Status check_directive(const std::string& text) {
    const bool fits = !text.empty() && text.size() <= 200 &&
                      std::all_of(text.begin(), text.end(), [](unsigned char c) {
                          return c > ' ' && c < 0x7f && c != '#' && c != '\'' && c != '"' &&
                                 c != '\\' && c != '`' && c != '$';
                      });
    if (fits) {
        return {};
    }
    return make_error(ErrorCode::invalid_input,
                      "`" + text + "` cannot stand in a job script: no spaces, quotes, `#` or `$`");
}

Result<std::string> directives(const WorkerOrder& order) {
    const BatchRequest& batch = order.batch;
    std::vector<std::string> lines = {"--job-name=bitsweep-worker", "--ntasks=1",
                                      "--output=" + order.log.string(), "--open-mode=append",
                                      "--signal=B:TERM@" + std::to_string(warning_s)};
    if (batch.time_limit.ms > 0) {
        if (batch.time_limit.ms < 2 * margin.ms) {
            return make_error(ErrorCode::invalid_input,
                              "a Slurm job needs at least 4 minutes: two "
                              "of them are kept for an orderly end");
        }
        // Whole minutes, rounded up: what Slurm counts in.
        lines.push_back("--time=" + std::to_string((batch.time_limit.ms + 59'999) / 60'000));
    }
    if (!batch.partition.empty()) {
        lines.push_back("--partition=" + batch.partition);
    }
    if (!batch.gres.empty()) {
        lines.push_back("--gres=" + batch.gres);
    }
    for (const std::string& option : batch.options) {
        if (option.rfind("--", 0) != 0) {
            return make_error(ErrorCode::invalid_input,
                              "`" + option + "` is no option of sbatch; write --name=value");
        }
        lines.push_back(option);
    }
    std::string text;
    for (const std::string& line : lines) {
        TRY(check_directive(line));
        text += "#SBATCH " + line + "\n";
    }
    return text;
}

Result<std::string> script_of(const WorkerOrder& order) {
    CommandWords words = {order.program.string(), "worker"};
    words.insert(words.end(), order.arguments.begin(), order.arguments.end());
    if (order.batch.time_limit.ms > 0) {
        const std::int64_t seconds = (order.batch.time_limit.ms - margin.ms) / 1'000;
        words.insert(words.end(), {"--until", std::to_string(seconds) + "s"});
    }
    // exec: the worker is the batch process that gets Slurm's SIGTERM.
    return "#!/bin/sh\n" + TRY(directives(order)) + "exec " + quote_words(words) + "\n";
}

class SlurmLauncher final : public Launcher {
 public:
    Result<std::unique_ptr<LaunchedWorker>> start(const WorkerOrder& order) override {
        const std::string script = TRY(script_of(order));
        const Answer answer = TRY(run_command({"sbatch", "--parsable"}, script, patience));
        std::string first = answer.output.substr(0, answer.output.find('\n'));
        if (answer.status != 0) {
            return make_error(ErrorCode::unavailable, "sbatch refused the job: " + first);
        }
        const std::string id = first.substr(0, first.find(';'));  // "12;cluster"
        if (id.empty() || id.find_first_not_of("0123456789") != std::string::npos) {
            return make_error(ErrorCode::corrupt, "sbatch answered no job number: " + first);
        }
        return std::unique_ptr<LaunchedWorker>(std::make_unique<SlurmWorker>(id));
    }

    Result<std::string> describe(const WorkerOrder& order) override { return script_of(order); }
};

}  // namespace

std::unique_ptr<Launcher> make_slurm_launcher() {
    return std::make_unique<SlurmLauncher>();
}

}  // namespace bitsweep
