#include "worker/metrics/metric_functions.h"
#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

std::vector<std::vector<double>> latencies_by_sequence(const Trace& trace) {
    std::vector<std::vector<double>> runs;
    runs.reserve(trace.sequences.size());
    for (const SequenceTrace& sequence : trace.sequences) {
        runs.emplace_back(sequence.token_ns.begin(), sequence.token_ns.end());
    }
    return runs;
}

}  // namespace

std::vector<double> token_latencies(const Trace& trace) {
    std::vector<double> all;
    for (const SequenceTrace& sequence : trace.sequences) {
        all.insert(all.end(), sequence.token_ns.begin(), sequence.token_ns.end());
    }
    return all;
}

Value token_latency_p50(const MetricInput& input) {
    return percentile(token_latencies(input.trace), 0.50);
}

Value token_latency_p90(const MetricInput& input) {
    return percentile(token_latencies(input.trace), 0.90);
}

Value token_latency_p99(const MetricInput& input) {
    return percentile(token_latencies(input.trace), 0.99);
}

Value token_latency_mean(const MetricInput& input) {
    return mean(token_latencies(input.trace));
}

Value token_latency_min(const MetricInput& input) {
    return minimum(token_latencies(input.trace));
}

Value token_latency_mad(const MetricInput& input) {
    return median_absolute_deviation(token_latencies(input.trace));
}

Value token_latency_lag1(const MetricInput& input) {
    return lag1(latencies_by_sequence(input.trace));
}

}  // namespace bitsweep
