// The runner processes of this worker, one for each device: starts them, gives them jobs, watches
// them, and turns every end into a RunResult. Not pure: owns processes, pipes and log files.
#pragma once

#include <poll.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schemas/message.h"
#include "worker/agent/child.h"
#include "worker/agent/device_watch.h"
#include "worker/agent/job_watch.h"

namespace bitsweep::agent {

struct RunnerSettings {
    std::filesystem::path program;
    std::vector<std::filesystem::path> models;  // more folders for `--models`
    std::vector<std::filesystem::path> data;
    int threads = 0;             // 0: the runner decides
    std::filesystem::path logs;  // folder, exists
    WatchLimits limits;          // `timeout` comes with each job
    std::uint64_t memory = 0;    // a runner that holds more bytes is ended; 0: no limit
    Duration idle{30'000};       // a runner without jobs gives its memory back after this
};

// Whether the process that ran `before` may run `next` too: quick jobs of the same model. The other
// protocols measure fresh processes.
bool may_share_process(const JobSpec& before, const JobSpec& next);

class Runners {
 public:
    explicit Runners(RunnerSettings settings);

    // At most one job for each device; another waits until the device's process has gone.
    void start(TimePoint now, const Dispatch& dispatch);
    void kill(TimePoint now, const JobKey& key, Attempt attempt, const std::string& reason);

    // Moves bytes, sends due signals, reaps; the jobs that ended. Never blocks.
    std::vector<RunResult> advance(TimePoint now);

    void add_descriptors(std::vector<pollfd>& into) const;
    TimePoint next_wake(TimePoint now) const;
    bool idle() const;  // no job runs or waits
    std::vector<OwnRunner> living() const;

 private:
    struct Job {
        Dispatch dispatch;
        JobWatch watch;
        std::uint64_t oom_kills = 0;  // of the kernel when it began
        TimePoint started;
        TimePoint weighed;  // its memory, last
        std::string garbage;
    };
    struct Slot {
        std::unique_ptr<Child> child;
        std::optional<JobSpec> last;  // the last one this process was given
        std::optional<Job> job;
        std::optional<Dispatch> next;
        std::optional<TimePoint> closing;  // its input ended; it should end too
        TimePoint idle_since{};
    };

    void pump(TimePoint now, Slot& slot);
    Status spawn(Slot& slot, const std::string& device);
    void give(TimePoint now, Slot& slot);
    void close(TimePoint now, Slot& slot);
    void read_lines(TimePoint now, Slot& slot);
    void read_line(TimePoint now, Slot& slot, const std::string& line);
    void urge(TimePoint now, Slot& slot);
    void weigh(TimePoint now, Slot& slot);
    void reap(TimePoint now, Slot& slot);
    void finish(TimePoint now, Slot& slot, RunResult result);
    std::filesystem::path log_file(const Dispatch& dispatch) const;

    RunnerSettings settings_;
    std::map<std::string, Slot> slots_;
    std::vector<RunResult> ended_;
};

}  // namespace bitsweep::agent
