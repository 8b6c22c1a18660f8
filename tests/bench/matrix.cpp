// How long an experiment of 100,000 cells takes to expand, store, plan and submit again, and what a
// million cells need. Goals: expand + hash + insert 1 s, submit again 0.5 s, plan 0.5 s, a million
// under 2 GiB.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/cli/plan_cells.h"
#include "coordinator/cli/plan_time.h"
#include "coordinator/cli/plan_view.h"
#include "coordinator/expand/expand.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/server/convert.h"
#include "coordinator/server/recover.h"
#include "coordinator/server/resolve.h"
#include "results/store/store.h"
#include "tests/bench/own_folder.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Of this process, user and system, all threads.
double cpu_ms() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto ms = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
    };
    return ms(used.ru_utime) + ms(used.ru_stime);
}

struct Watch {
    Clock::time_point start = Clock::now();
    double cpu_before = cpu_ms();

    double ms() const {
        return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
    double cpu() const { return cpu_ms() - cpu_before; }
};

double peak_mib() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_maxrss) / 1024.0;
}

// 5 models x 4 methods x 50 batch sizes x `lengths`.
std::string yaml_of(int lengths) {
    return "experiment: big\ndefaults: {weights: random, protocol: quick}\nmatrix:\n"
           "  model: [gpt2, gpt2-medium, gpt2-large, gpt2-xl, opt-125m]\n"
           "  method: [fp16, int8, nf4, int4-g64]\n  gpu: cpu\n  batch: {range: [1, 50]}\n"
           "  new_tokens: {range: [1, " +
           std::to_string(lengths) + "]}\n";
}

class Figures {
 public:
    void add(const char* name, double value, const char* goal) {
        std::printf("%-32s %10.1f              %s\n", name, value, goal);
        put(name, value);
    }
    // `name` without its unit.
    void add(const std::string& name, const Watch& watch, const char* goal) {
        const double ms = watch.ms();
        const double cpu = watch.cpu();
        std::printf("%-32s %10.1f %10.1f   %s\n", (name + "_ms").c_str(), ms, cpu, goal);
        put(name + "_ms", ms);
        put(name + "_cpu_ms", cpu);
    }
    std::string json() const { return json_ + "}"; }

 private:
    void put(const std::string& name, double value) {
        json_ += (json_.empty() ? "{\"" : ", \"") + name + "\": " + std::to_string(value);
    }

    std::string json_;
};

Result<std::vector<Cell>> expanded(int lengths) {
    Expansion expansion = TRY(expand_yaml(yaml_of(lengths), "big.yaml", {}));
    return std::move(expansion.cells);
}

// What the coordinator writes when all of them are new.
Status insert(Store& store, std::vector<Cell> cells, Figures& figures) {
    const Watch settle;
    const auto resolved = TRY(resolve_cells(store, std::move(cells)));
    figures.add("insert_settle", settle, "");
    const Watch write;
    std::optional<Watch> commit;
    TRY(store.transact([&](StoreWriter& writer) -> Status {
        StoredExperiment experiment;
        experiment.name.value = "big";
        TRY(writer.put_experiment(experiment));
        for (const scheduler::ResolvedCell& one : resolved) {
            scheduler::JobRecord job;
            job.key = one.key;
            TRY(writer.put_job(experiment.name, JobView{to_stored_state(std::move(job)), *one.cell},
                               Membership::asked));
        }
        figures.add("insert_rows", write, "");
        commit.emplace();
        return {};
    }));
    figures.add("insert_indexes_and_commit", *commit, "");
    return {};
}

// Results of every second job.
Status measure_half(Store& store) {
    std::vector<StoredJob> jobs = TRY(store.jobs(ExperimentName{"big"}));
    return store.transact([&](StoreWriter& writer) -> Status {
        for (std::size_t i = 0; i < jobs.size(); i += 2) {
            FinishedRun run;
            run.result.key = jobs[i].key;
            run.result.attempt = jobs[i].attempt = {1};
            run.result.finished_unix_ms = 1'000;
            run.result.measurements = {{"decode_tokens_per_s", "token/s", 0, 100}};
            run.device = run.device_kind = run.device_name = "cpu";
            jobs[i].state = "done";
            TRY(writer.set_job(jobs[i]));
            TRY(writer.put_run(run));
        }
        return {};
    });
}

Status submit_again(Store& store, Figures& figures) {
    scheduler::Scheduler scheduler{scheduler::Options{}};
    scheduler.restore(TRY(recover(store)), {1});
    const Watch start;
    std::vector<Cell> cells = TRY(expanded(100));
    figures.add("again_expand", start, "");
    const Watch settle;
    scheduler::Submission again;
    again.experiment.value = "big";
    again.cells = TRY(resolve_cells(store, std::move(cells)));
    figures.add("again_settle", settle, "");
    const Watch step;
    const std::vector<scheduler::Command> commands = scheduler.step({2}, std::move(again));
    figures.add("again_step", step, "");
    figures.add("again", start, "goal 500");
    figures.add("again_commands", static_cast<double>(commands.size()), "the answer alone: 1");
    return {};
}

Status plan(Store& store, Figures& figures) {
    const Watch start;
    Expansion expansion = TRY(expand_yaml(yaml_of(101), "big.yaml", {}));
    std::vector<Cell> cells = std::move(expansion.cells);
    const Watch compare;
    const auto planned = TRY(plan_cells(expansion, std::move(cells), &store, {}, Reasons::states));
    figures.add("plan_compare", compare, "");
    const Watch sum;
    const FormerCells former = TRY(cells_left_over(expansion.experiment, planned, &store));
    figures.add("plan_former", static_cast<double>(former.cells), "none has left: 0");
    (void)plan_summary(expansion, planned, TRY(estimate_times(planned, &store)));
    figures.add("plan_sum", sum, "");
    figures.add("plan", start, "goal 500");
    return {};
}

Result<std::string> measure(const fs::path& folder) {
    Figures figures;
    std::printf("%-32s %10s %10s\n", "100,000 cells", "ms", "CPU ms");
    const auto store = TRY(Store::open(folder / "big.db", OpenMode::read_write));
    const Watch start;
    std::vector<Cell> cells = TRY(expanded(100));
    figures.add("expand", start, "");
    const Watch store_start;
    TRY(insert(*store, std::move(cells), figures));
    figures.add("insert", store_start, "");
    figures.add("expand_and_insert", start, "goal 1,000");
    TRY(measure_half(*store));
    TRY(plan(*store, figures));
    TRY(submit_again(*store, figures));
    std::printf("%-32s\n", "1,000,000 cells");
    const Watch million;
    const std::size_t count = TRY(expanded(1000)).size();
    figures.add("million_cells", static_cast<double>(count), "");
    figures.add("million", million, "");
    figures.add("million_peak_mib", peak_mib(), "goal 2,048");
    const Result<std::vector<Cell>> refused = expanded(1001);
    std::printf("%s\n",
                refused ? "1,001,000 cells are accepted: WRONG" : refused.error().message.c_str());
    return figures.json();
}

}  // namespace
}  // namespace bitsweep

int main(int count, char** words) {
    return bitsweep::run_in_own_folder("matrix", bitsweep::measure, count, words);
}
