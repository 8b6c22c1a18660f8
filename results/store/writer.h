// The statements of one transaction. Made by Store::transact only.
#pragma once

#include <memory>

#include "results/store/bulk_indexes.h"
#include "results/store/fresh_jobs.h"
#include "results/store/job_rows.h"
#include "results/store/shared_specs.h"
#include "results/store/sqlite.h"
#include "results/store/store.h"

namespace bitsweep {

class SqliteWriter final : public StoreWriter {
 public:
    SqliteWriter(Connection& connection, JobRows& rows) : connection_(connection), rows_(rows) {}
    Status put_experiment(const StoredExperiment& experiment) override;
    Status put_job(const ExperimentName& experiment, const JobView& job,
                   Membership membership) override;
    Status set_job(const StoredState& job) override;
    Status put_run(const FinishedRun& run) override;
    Status put_event(TimePoint when, std::string_view kind, std::string_view json) override;
    // At the end of the transaction.
    Status finish();
    // Behind the transaction: gives back the memory that many new jobs took.
    void shrink();

 private:
    // The job's key is new: everything of the row but its membership.
    Status describe(const JobView& job, Membership membership, FreshJob& fresh);
    Status add_member(const ExperimentName& experiment, const JobView& job);
    Status put_sentinel(const ExperimentName& experiment, const JobView& job, bool is_new);
    Status put_verdict(std::int64_t row, const RunResult& result);
    Status put_details(std::int64_t run_id, const RunResult& result);
    // What the result's model and text are bound to, where nothing is bound yet.
    Status bind_digests(std::int64_t row, std::int64_t run_id, const RunResult& result);
    // A result that came and is not shown yet: the state of its job is usually set next, and one
    // statement does both.
    struct Shown {
        std::int64_t row = 0;
        std::int64_t run = 0;
        std::int64_t attempt = 0;
    };
    Status show_pending();
    // not_found: there is no such experiment.
    Status check_experiment(const ExperimentName& experiment);

    Connection& connection_;
    JobRows& rows_;
    std::optional<Shown> shown_;
    ExperimentName known_;        // an experiment that is there
    FreshMembers fresh_;          // not written yet
    std::int64_t last_row_ = -1;  // of job_specs; -1: not asked yet
    BulkIndexes indexes_;
    struct Forms {
        StoredForms keys;
        SharedSpecs shared;
    };
    std::unique_ptr<Forms> forms_;  // null: no job is new yet
    bool grown_ = false;
};

}  // namespace bitsweep
