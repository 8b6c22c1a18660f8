// Measurements whose truth is known: normal noise from a fixed seed, and databases of cells that
// follow a stated law.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "results/analysis/random.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {

class Gauss {
 public:
    explicit Gauss(std::uint64_t seed) : random_(seed) {}
    double next();  // mean 0, deviation 1
    // `count` rates of one process whose own level is off by `between`, each off by `within`.
    std::vector<double> samples(double rate, double between, double within, int count);

 private:
    Random random_;
};

struct SyntheticCell {
    std::string model;
    std::string method;
    std::optional<double> threshold;
    double decode_tokens_per_s = 0;  // the truth
    std::vector<Measurement> more;
};

struct SyntheticDevice {
    std::string kind, name;
    double speed = 1;  // times every cell's rate
};

struct SyntheticPlan {
    std::string experiment = "synthetic";
    std::vector<SyntheticDevice> devices = {{"cpu", "test cpu"}};
    std::vector<SyntheticCell> cells;
    int repeats = 3;
    int sequences = 10;
    double between = 0.003, within = 0.005;
    std::uint64_t seed = 1;
    // Changes a finished run before it is stored; may be empty.
    std::function<void(FinishedRun&, const SyntheticCell&, int repeat)> damage;
};

// A law of one method on one card: nanoseconds of a decode step.
struct PhysicalLaw {
    std::string method;
    std::optional<double> threshold;
    double fixed_ns = 0, per_product_ns = 0, bandwidth = 1;
};

// Cells of shapes from the table, at 16-bit heads: sizes by the catalog, speed by the law, KL by
// exp(intercept + per_bit x bits + per_log_size x ln(parameters)) where `kl` is not zero.
struct QualityLaw {
    double intercept = 0, per_bit = 0, per_log_size = 0;
};
std::vector<SyntheticCell> physical_cells(const std::vector<std::string>& models,
                                          const std::vector<PhysicalLaw>& laws,
                                          std::optional<QualityLaw> quality = std::nullopt);

// Fills the store with jobs, runs, raw samples and measurements of the plan.
void fill(Store& store, const SyntheticPlan& plan);

}  // namespace bitsweep::testing
