// One experiment as one page: the question, the answer, the plots, the tables, how every number was
// made, what was left out, and where it was measured. Opens offline: no script, no network.
#pragma once

#include <string>
#include <vector>

#include "results/analysis/crossover.h"
#include "results/analysis/evidence.h"
#include "results/analysis/latency.h"
#include "results/analysis/pareto.h"
#include "results/analysis/scaling.h"
#include "results/analysis/summary.h"

namespace bitsweep {

// Somebody else's speed-up over their own 16 bits.
struct ExternalSpeedup {
    std::string gpu, model, method, tool, file;
    double parameters = 0, speedup = 0;
};

// One run in the order of the clock.
struct RunInOrder {
    std::string device, name;  // "llama-nano int8 repeat 1"
    double minutes = 0;        // since the device's first run
    double relative = 0;       // decode rate over the median of its cell
};

struct Report {
    Summary summary;
    std::string yaml;
    Evidence evidence;
    Scaling scaling;
    std::vector<Crossover> crossovers;  // empty: no method on two sizes
    std::vector<ParetoFront> fronts;
    LatencyAnswer latency;
    std::vector<ExternalSpeedup> external;
    Table external_rows;  // v_external
    std::vector<RunInOrder> order;
    Table provenance;  // key, value, runs
    Resampling how;
};

// not_found: no such experiment.
Result<Report> make_report(Store& store, const ExperimentName& experiment,
                           const Resampling& how = {});

std::string to_html(const Report& report);
std::string to_markdown(const Report& report);  // tables and sentences, for a paper's appendix

}  // namespace bitsweep
