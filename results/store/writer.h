// The statements of one transaction. Made by Store::transact only.
#pragma once

#include "results/store/sqlite.h"
#include "results/store/store.h"

namespace bitsweep {

class SqliteWriter final : public StoreWriter {
 public:
    explicit SqliteWriter(Connection& connection) : connection_(connection) {}
    Status put_experiment(const StoredExperiment& experiment) override;
    Status put_job(const ExperimentName& experiment, const StoredJob& job,
                   Membership membership) override;
    Status set_job(const StoredJob& job) override;
    Status put_run(const FinishedRun& run) override;
    Status put_event(TimePoint when, std::string_view kind, std::string_view json) override;

 private:
    Status put_details(std::int64_t run_id, const RunResult& result);
    Connection& connection_;
};

}  // namespace bitsweep
