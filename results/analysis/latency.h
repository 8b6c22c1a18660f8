// Where a token's time goes, and so why a method is slower here: from what was stored, and saying
// what was not.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"
#include "results/analysis/scaling.h"

namespace bitsweep {

// The parts of one decode step, in the order in which they are plotted. NaN: cannot be told.
enum LatencyPart : std::size_t {
    part_bytes,        // bytes_per_token / read_bandwidth: the floor of this machine
    part_launches,     // launches_per_token x launch_latency + graph_nodes_per_token x
                       // graph_node_latency; on a CPU the fitted cost of products and rows
    part_host,         // the host's clock minus the device's, where tokens run free on the device
    part_synchronise,  // syncs_per_token x launch_round_trip
    part_outliers,     // the step minus that of the same method at threshold 0, paired by repeat
    part_tail,         // mean minus median step
    part_rest,         // arithmetic, conversions, cache misses: what none of these explains
    latency_parts
};
std::string_view name_of(LatencyPart part);

struct LatencySplit {
    std::string device, model, method, host;
    bool is_baseline = false;
    Interval step_ns;  // of one decode step, over processes
    Interval speedup;  // over the 16-bit baseline, paired; not known for the baseline itself
    std::array<double, latency_parts> ns{};
    // A cache serves the bytes: fewer than 64 MiB a token, or reading them at the machine's memory
    // bandwidth would take longer than the whole step. Their part is then not known.
    bool from_cache = false;
};

struct LatencyAnswer {
    std::vector<LatencySplit> splits;  // by device, model; the baseline first
    std::vector<std::string> missing;  // "cuda: launches_per_token is not stored: ..."
};

// `scaling` gives the CPU's cost per product; may be empty.
LatencyAnswer split_latency(const Evidence& evidence, const Scaling& scaling,
                            const Resampling& how);

// `method`: explain this one only; empty: every method that is slower than its baseline.
Finding latency_finding(const LatencyAnswer& answer, const std::string& method);

// "On tiny, cpu: llmint8-bnb T=6 takes 82.1 us per token, 1.70x fp16's 48.3 us: ..."
std::string explain(const LatencySplit& split, const LatencySplit& base);

}  // namespace bitsweep
