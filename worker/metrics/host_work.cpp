// Rows of what the host does for one decode step of a device.
#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

// Of all measured decode steps; absent where one sequence was not counted.
Value per_step(const MetricInput& input, std::int64_t HostWork::*which) {
    double sum = 0, steps = 0;
    for (const SequenceTrace& sequence : input.trace.sequences) {
        if (!sequence.host_work) {
            return std::nullopt;
        }
        sum += static_cast<double>(*sequence.host_work.*which);
        steps += static_cast<double>(sequence.token_ns.size());
    }
    return steps > 0 ? Value(sum / steps) : std::nullopt;
}

}  // namespace

Value launches_per_token(const MetricInput& input) {
    return per_step(input, &HostWork::launches);
}

Value graph_nodes_per_token(const MetricInput& input) {
    return per_step(input, &HostWork::graph_nodes);
}

Value syncs_per_token(const MetricInput& input) {
    return per_step(input, &HostWork::syncs);
}

Value host_gap_per_token(const MetricInput& input) {
    double gap = 0, steps = 0;
    for (const SequenceTrace& sequence : input.trace.sequences) {
        if (sequence.decode_ns <= 0) {
            return std::nullopt;  // one clock only
        }
        gap += static_cast<double>(sequence.decode_ns);
        for (const std::int64_t ns : sequence.token_ns) {
            gap -= static_cast<double>(ns);
        }
        steps += static_cast<double>(sequence.token_ns.size());
    }
    return steps > 0 && gap >= 0 ? Value(gap / steps) : std::nullopt;
}

}  // namespace bitsweep
