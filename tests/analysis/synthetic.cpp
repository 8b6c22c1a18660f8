#include "tests/analysis/synthetic.h"

#include <cmath>

#include "results/analysis/interval.h"
#include "schemas/catalog/memory.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

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

std::vector<SyntheticCell> physical_cells(const std::vector<std::string>& models,
                                          const std::vector<PhysicalLaw>& laws,
                                          std::optional<QualityLaw> quality) {
    std::vector<SyntheticCell> cells;
    for (const std::string& model : models) {
        const ModelShape* shape = find_shape(model);
        const auto half = parse_method("fp16").value();
        const MemoryBytes base = estimate_memory({.shape = shape, .method = half});
        for (const PhysicalLaw& law : laws) {
            const auto method = parse_method(law.method).value();
            const MemoryBytes memory = estimate_memory({.shape = shape, .method = method});
            const auto weights = static_cast<double>(memory.weight_codes + memory.weight_scales +
                                                     memory.embeddings + memory.other_weights);
            const double products = 4 * static_cast<double>(shape->layers) + 1;
            const double ns =
                law.fixed_ns + law.per_product_ns * products + weights / law.bandwidth * 1e9;
            SyntheticCell cell{model, law.method, law.threshold, 1e9 / ns, {}};
            const auto add = [&](const char* name, const char* unit, double value) {
                cell.more.push_back({name, unit, 0, value});
            };
            const auto codes = static_cast<double>(memory.weight_codes);
            const auto scales = static_cast<double>(memory.weight_scales);
            add("bytes_per_token", "B", weights);
            add("weights_bytes", "B", weights);
            add("weights_codes_bytes", "B", codes);
            add("weights_scales_bytes", "B", scales);
            add("allocated_bytes", "B", static_cast<double>(memory.total()));
            add("read_bandwidth", "B/s", 1.1 * law.bandwidth);
            if (quality) {
                const double bits =
                    8 * (codes + scales) * 2 / static_cast<double>(base.weight_codes);
                add("kl_mean", "nat",
                    std::exp(quality->intercept + quality->per_bit * bits +
                             quality->per_log_size *
                                 std::log(static_cast<double>(shape->parameters))));
            }
            cells.push_back(std::move(cell));
        }
    }
    return cells;
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
