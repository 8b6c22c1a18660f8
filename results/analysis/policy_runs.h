// Policies that ran: cells of method `mixed`, with what was predicted of them and what was
// measured.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/analysis/bootstrap.h"
#include "results/analysis/policy.h"

namespace bitsweep {

struct PolicyRun {
    LayerPolicy policy;
    std::string device;             // kind that it was measured on
    double kl = 0;                  // median over repeats; NaN: not measured
    std::vector<double> kl_tokens;  // of each scored token, of one repeat; may be empty
    // Latencies of single tokens, of the processes whose windows count; none: all were disturbed.
    struct Timed {
        int repeat = 0;
        std::vector<double> ns;
    };
    std::vector<Timed> times;

    double step_ns() const;  // median over processes of their medians; NaN without any
};

// Of `model`, in the order in which the cells stand in their experiments.
Result<std::vector<PolicyRun>> read_policy_runs(Store& store, const std::string& model);

// The one method of every layer; empty where layers differ.
std::string uniform_method(const LayerPolicy& policy);
// Drawn by random_policy: named so by `analyze policy --random`.
bool is_random(const LayerPolicy& policy);
// Found within a budget.
bool is_found(const LayerPolicy& policy);

// Two runs on one device that are compared, and several such pairs: their geometric mean.
struct RunPair {
    const PolicyRun* over;
    const PolicyRun* under;
};

// Time of a step, repeats paired: hierarchical bootstrap over processes and the latencies of their
// tokens (their median, which a neighbour's work moves less than a rate). All NaN where a pair has
// no repeat in common; no interval where one has a single process.
Interval time_ratio(std::span<const RunPair> pairs, const Resampling& how);

// KL divergence. All runs scored the same tokens: blocks of 128 neighbouring ones are resampled,
// the same for every run, because neighbours share their text. Without tokens of all of them only
// the ratio is known.
Interval kl_ratio(std::span<const RunPair> pairs, const Resampling& how);

// Spearman's correlation of pairs, its interval by resampling pairs; NaN below three.
Interval rank_correlation_interval(std::span<const double> a, std::span<const double> b,
                                   const Resampling& how);

// "1.06 (0.981 to 1.14)"; "-" for NaN, without brackets where the interval is unknown.
std::string ratio_interval_text(const Interval& interval);

}  // namespace bitsweep
