// A store in memory behind the real interface, with faults on demand. It checks what every caller
// must keep, and notes each breach as a sentence.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "results/store/store.h"

namespace bitsweep::sim {

class FakeStore : public Store {
 public:
    struct Contents {
        std::vector<StoredExperiment> experiments;
        std::vector<JobKey> order;
        std::map<JobKey, StoredJob> jobs;
        std::map<ExperimentName, std::vector<JobKey>> members;
        std::map<JobKey, ExperimentName> sentinels;  // jobs that are members of none
        std::map<std::pair<JobKey, Attempt>, FinishedRun> runs;
        std::map<JobKey, Attempt> shown;
        std::vector<std::pair<std::string, std::string>> events;  // kind, json
        std::map<std::string, std::string> bound_models;
        std::map<std::string, std::string> bound_texts;
    };

    // Asked before every transaction; an error makes it fail and write nothing.
    std::function<Status()> fault;
    // Called when a transaction is durable, before the caller hears of it.
    std::function<void()> after_commit;
    // Called when a write inside a transaction hands a job out: the job, what was before it.
    std::function<void(const StoredState& job, const Contents& so_far)> on_handed_out;
    // Set by tests that run done jobs again on purpose.
    bool reopening_allowed = false;

    const Contents& contents() const { return contents_; }
    const StoredJob* job(const JobKey& key) const;
    const std::vector<std::string>& breaches() const { return breaches_; }
    int transactions = 0;

    Status transact(const std::function<Status(StoreWriter&)>& body,
                    WhenLocked when_locked = WhenLocked::wait) override;
    Result<std::vector<StoredExperiment>> experiments() override;
    Result<std::vector<StoredJob>> jobs(const ExperimentName& experiment) override;
    Result<std::vector<std::optional<KnownJob>>> find(std::span<const Cell> cells) override;
    Result<Table> query(const std::string& sql) override;

 private:
    class Writer;
    Contents contents_;
    std::vector<std::string> breaches_;
};

}  // namespace bitsweep::sim
