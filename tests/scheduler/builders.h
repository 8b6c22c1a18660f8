// Short ways to say things in scheduler tests: cells, hellos, results, and commands as one line.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/scheduler/command.h"
#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/scheduler.h"

namespace bitsweep::scheduler {

// "llama-nano/fp16" or "llama-nano/fp16/T4"; gpu "cpu" when left out. Retries of crashes 3, of
// failures 0, timeout 10 minutes.
Cell cell(const std::string& words);

// "a=llama-nano/fp16" -> job key "a".
ResolvedCell resolved(const std::string& words);
Cell& edit(ResolvedCell& one);  // a cell of its own, to be changed

// One device from "cpu", "cuda:0=T4" or "cuda:0=A100=80"; 16 GiB when not said.
DeviceInfo device(const std::string& words);

// "cuda:0=12" or "cuda:0=12=somebody": GiB free, and who else computes there.
DeviceState device_state(const std::string& words);

// Session "w1-1" belongs to worker "w1".
Hello hello(const std::string& session, std::vector<std::string> devices = {"cpu"},
            std::vector<std::string> models = {"m", "n"}, std::vector<RunningJob> running = {});

// A catalog for tests: every method runs everywhere, but "cpu-only" and "cuda-only"; the model
// "big" needs 20 GiB.
Needs test_needs(const JobSpec& spec);
Options test_options();

// "a#2" -> {a, 2}.
RunningJob attempt(const std::string& words);

ResultArrived result(const std::string& session, const std::string& attempt_words,
                     OutcomeClass outcome = OutcomeClass::done, std::string message = {},
                     std::string weights_digest = {});

Submission submission(const std::string& experiment, const std::vector<std::string>& cells);

// The command as one line: "job a running #1 w1/cpu", "w1-1 <- dispatch a#1 on cpu", ...
std::string in_words(const Command& command);
std::string in_words(const JobRecord& job);

// What a store holds after the commands of all steps; gives it back as a restart would.
class Persisted {
 public:
    void take(const Command& command);
    Snapshot snapshot() const;
    void submitted(const Submission& submission);

 private:
    void take_log(const LogEvent& event);
    void take_run(const RunResult& result);

    std::vector<JobKey> order_;
    std::map<JobKey, JobRecord> jobs_;
    std::map<JobKey, Snapshot::Sentinel> sentinels_;
    std::map<ExperimentName, std::vector<JobKey>> members_;
    std::map<ExperimentName, Snapshot::Sweep> orders_;
    std::map<std::string, Quarantine> quarantines_;
    std::map<std::string, std::string> bound_models_;
};

}  // namespace bitsweep::scheduler
