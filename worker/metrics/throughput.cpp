#include "worker/metrics/metric_functions.h"
#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

constexpr double ns_per_s = 1e9;

}  // namespace

std::vector<double> decode_rates(const Trace& trace) {
    std::vector<double> rates;
    for (const SequenceTrace& sequence : trace.sequences) {
        const auto ns = static_cast<double>(decode_time_ns(sequence));
        if (ns > 0) {
            const double tokens =
                static_cast<double>(sequence.token_ns.size()) * static_cast<double>(sequence.batch);
            rates.push_back(tokens * ns_per_s / ns);
        }
    }
    return rates;
}

std::vector<double> prefill_rates(const Trace& trace) {
    std::vector<double> rates;
    for (const SequenceTrace& sequence : trace.sequences) {
        if (sequence.prefill_ns > 0) {
            const double tokens =
                static_cast<double>(sequence.prompt_tokens) * static_cast<double>(sequence.batch);
            rates.push_back(tokens * ns_per_s / static_cast<double>(sequence.prefill_ns));
        }
    }
    return rates;
}

Value decode_tokens_per_s(const MetricInput& input) {
    return median(decode_rates(input.trace));
}

Value decode_half_width(const MetricInput& input) {
    return relative_half_width(decode_rates(input.trace));
}

Value prefill_tokens_per_s(const MetricInput& input) {
    return median(prefill_rates(input.trace));
}

Value prefill_half_width(const MetricInput& input) {
    return relative_half_width(prefill_rates(input.trace));
}

Value first_token_ns(const MetricInput& input) {
    std::vector<double> times;
    for (const SequenceTrace& sequence : input.trace.sequences) {
        times.push_back(static_cast<double>(sequence.prefill_ns));
    }
    return median(times);
}

Value measured_sequences(const MetricInput& input) {
    return static_cast<double>(input.trace.sequences.size());
}

Value warmup_sequences(const MetricInput& input) {
    return static_cast<double>(input.trace.warmup.size());
}

Value decode_steps(const MetricInput& input) {
    return static_cast<double>(token_latencies(input.trace).size());
}

}  // namespace bitsweep
