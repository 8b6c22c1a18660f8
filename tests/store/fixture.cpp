#include "tests/store/fixture.h"

#include <cmath>

#include "schemas/codec.h"

namespace bitsweep::testing {

void rekey(StoredJob& job) {
    job.cell.identity.spec_key = spec_key(job.cell.spec);
    job.key = cell_key(job.cell.identity);
}

StoredJob make_job(const std::string& method, int repeat, std::optional<double> threshold) {
    StoredJob job;
    job.cell.spec.model.name = "tiny";
    job.cell.spec.method = method;
    job.cell.spec.threshold = threshold;
    job.cell.spec.repeat = repeat;
    job.cell.spec.protocol = Protocol::quick;
    job.cell.yaml_line = 7;
    job.state = "waiting";
    rekey(job);
    return job;
}

FinishedRun make_run(const StoredJob& job, double decode_tokens_per_s) {
    FinishedRun run;
    run.result.key = job.key;
    run.result.attempt = {1};
    run.result.started_unix_ms = 1000;
    run.result.finished_unix_ms = 2000;
    run.result.measurements = {{"decode_tokens_per_s", "token/s", 0, decode_tokens_per_s}};
    run.worker.value = "worker-1";
    run.device = "cpu";
    run.device_kind = "cpu";
    run.device_name = "test cpu";
    return run;
}

StoredExperiment make_experiment(const std::string& name) {
    StoredExperiment experiment;
    experiment.name.value = name;
    experiment.yaml = "experiment: " + name + "\n";
    experiment.submitted.unix_ms = 42;
    return experiment;
}

std::unique_ptr<Store> open_store(const std::filesystem::path& file, OpenMode mode) {
    auto store = Store::open(file, mode);
    if (!store) {
        ADD_FAILURE() << store.error().message;
        std::abort();
    }
    return std::move(store).value();
}

void put_jobs(Store& store, const std::string& experiment, const std::vector<StoredJob>& jobs) {
    const Status done = store.transact([&](StoreWriter& writer) -> Status {
        TRY(writer.put_experiment(make_experiment(experiment)));
        for (const StoredJob& job : jobs) {
            TRY(writer.put_job({experiment}, job));
        }
        return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message;
}

void put_run(Store& store, const FinishedRun& run) {
    const Status done = store.transact([&](StoreWriter& writer) { return writer.put_run(run); });
    ASSERT_TRUE(done.ok()) << done.error().message;
}

namespace {

Table::Value single(Store& store, const std::string& sql) {
    const Result<Table> table = store.query(sql);
    EXPECT_TRUE(table.ok()) << sql << ": " << table.error().message;
    if (!table || table->rows.size() != 1 || table->columns.size() != 1) {
        ADD_FAILURE() << sql << ": " << (table.ok() ? table->rows.size() : 0) << " rows";
        return {};
    }
    return table->rows[0][0];
}

}  // namespace

double number(Store& store, const std::string& sql) {
    const Table::Value value = single(store, sql);
    return value.kind == Table::Kind::integer ? static_cast<double>(value.integer)
           : value.kind == Table::Kind::real  ? value.real
                                              : std::nan("");
}

std::string text(Store& store, const std::string& sql) {
    return single(store, sql).text;
}

}  // namespace bitsweep::testing
