#include "tests/analysis/synthetic.h"

#include <cmath>

#include "results/analysis/interval.h"

namespace bitsweep::testing {

double Gauss::next() {
    // Box and Muller; 1 - u keeps the logarithm finite.
    constexpr double two_pi = 6.283185307179586;
    const double radius = std::sqrt(-2 * std::log(1 - random_.uniform()));
    return radius * std::cos(two_pi * random_.uniform());
}

std::vector<double> Gauss::samples(double rate, double between, double within, int count) {
    const double level = rate * std::exp(between * next());
    std::vector<double> values;
    for (int i = 0; i < count; ++i) {
        values.push_back(level * std::exp(within * next()));
    }
    return values;
}

void fill(Store& store, const SyntheticPlan& plan) {
    Gauss gauss(plan.seed);
    std::vector<StoredJob> jobs;
    std::vector<FinishedRun> runs;
    for (const SyntheticDevice& device : plan.devices) {
        for (const SyntheticCell& cell : plan.cells) {
            for (int repeat = 0; repeat < plan.repeats; ++repeat) {
                StoredJob job = make_job(cell.method, repeat, cell.threshold);
                job.cell.spec.model.name = cell.model;
                job.cell.spec.gpu = device.kind;
                rekey(job);
                FinishedRun run = make_run(job, 0);
                const std::vector<double> rates =
                    gauss.samples(cell.decode_tokens_per_s * device.speed, plan.between,
                                  plan.within, plan.sequences);
                run.result.measurements[0].value = median(rates);
                run.result.samples = {{"decode_rate", "token/s", rates}};
                run.result.measurements.insert(run.result.measurements.end(), cell.more.begin(),
                                               cell.more.end());
                run.device_kind = device.kind;
                run.device_name = device.name;
                run.result.provenance = {{"host", "host-of-" + device.kind}};
                if (plan.damage) {
                    plan.damage(run, cell, repeat);
                }
                jobs.push_back(std::move(job));
                runs.push_back(std::move(run));
            }
        }
    }
    put_jobs(store, plan.experiment, jobs);
    const Status stored = store.transact([&](StoreWriter& writer) -> Status {
        for (const FinishedRun& run : runs) {
            TRY(writer.put_run(run));
        }
        return {};
    });
    ASSERT_TRUE(stored.ok()) << stored.error().message;
}

}  // namespace bitsweep::testing
