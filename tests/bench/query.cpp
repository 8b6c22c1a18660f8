// How long questions to a database of 1,000,000 measurements take, through the read API that
// `bitsweep query` uses: 20,000 runs of 50 metrics, 20 models x 10 methods x 4 devices x 25
// repeats.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "results/store/store.h"
#include "schemas/codec.h"
#include "tests/bench/own_folder.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int models = 20, methods = 10, devices = 4, repeats = 25, metrics = 50;
constexpr int rounds = 5;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

FinishedRun run_of(const StoredJob& job, int number) {
    FinishedRun run;
    run.result.key = job.key;
    run.result.attempt = {1};
    run.result.started_unix_ms = number;
    run.result.finished_unix_ms = number + 1;
    run.result.measurements = {{"decode_tokens_per_s", "token/s", 0, 100.0 + number % 97}};
    for (int i = 1; i < metrics; ++i) {
        run.result.measurements.push_back(
            {"metric_" + std::to_string(i), "1", 0, static_cast<double>(number % 89)});
    }
    run.worker.value = "w";
    run.device = "cuda:0";
    run.device_kind = run.device_name = job.cell.spec.gpu;
    return run;
}

Status fill(Store& store) {
    // A bit width and a group size name the method: ten of them exist in every build.
    const std::vector<std::string> names = {"fp16",     "int8",     "nf4",      "fp4",
                                            "int2-g64", "int3-g64", "int4-g64", "int5-g64",
                                            "int6-g64", "int7-g64"};
    return store.transact([&](StoreWriter& writer) -> Status {
        StoredExperiment experiment;
        experiment.name.value = "e";
        TRY(writer.put_experiment(experiment));
        int number = 0;
        for (int i = 0; i < models * methods * devices * repeats; ++i) {
            StoredJob job;
            job.cell.spec.model.name = "model-" + std::to_string(i % models);
            job.cell.spec.method = names[static_cast<std::size_t>(i / models % methods)];
            job.cell.spec.gpu = "gpu-" + std::to_string(i / models / methods % devices);
            job.cell.spec.repeat = i / models / methods / devices;
            job.cell.identity.spec_key = spec_key(job.cell.spec);
            job.key = cell_key(job.cell.identity);
            job.state = "done";
            TRY(writer.put_job({"e"}, job));
            TRY(writer.put_run(run_of(job, ++number)));
        }
        return {};
    });
}

struct Question {
    const char *name, *sql;
};
constexpr Question questions[] = {
    {"filter_and_group",
     "SELECT model, method, avg(decode_tokens_per_s) FROM v_results WHERE device = 'gpu-1'"
     " GROUP BY model, method"},
    {"group_everything",
     "SELECT c.model, c.method, c.device, avg(m.value) FROM v_cells c JOIN measurements m"
     " ON m.run = c.run AND m.sample = 0 AND m.metric = 'decode_tokens_per_s'"
     " GROUP BY c.model, c.method, c.device"},
    {"one_model",
     "SELECT method, avg(decode_tokens_per_s) FROM v_results WHERE model = 'model-3'"
     " GROUP BY method"},
    {"speedups", "SELECT model, method, avg(speedup) FROM v_speedup GROUP BY model, method"},
};

Result<std::string> measure(const fs::path& folder) {
    const auto store = TRY(Store::open(folder / "big.db", OpenMode::read_write));
    Clock::time_point start = Clock::now();
    TRY(fill(*store));
    std::string json = "{\"fill_s\": " + std::to_string(ms_since(start) / 1e3);
    std::printf("%-18s %8s %8s\n", "question", "rows", "ms");
    for (const Question& question : questions) {
        double best = 1e9;
        std::size_t rows = 0;
        for (int round = 0; round < rounds; ++round) {
            start = Clock::now();
            rows = TRY(store->query(question.sql)).rows.size();
            best = std::min(best, ms_since(start));
        }
        std::printf("%-18s %8zu %8.1f\n", question.name, rows, best);
        json += ", \"" + std::string(question.name) + "_ms\": " + std::to_string(best);
    }
    return json + "}";
}

}  // namespace
}  // namespace bitsweep

int main(int count, char** words) {
    return bitsweep::run_in_own_folder("query", bitsweep::measure, count, words);
}
