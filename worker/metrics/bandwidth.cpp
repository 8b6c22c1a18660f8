#include "worker/metrics/metric_functions.h"
#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

// Twice the largest last-level cache that a guest of ours was told of (32 MiB): below it, tokens
// may be served by the cache, and a share of the memory bandwidth says nothing.
constexpr std::uint64_t least_bytes_for_share = 64ULL << 20;

}  // namespace

Value bytes_per_token(const MetricInput& input) {
    if (input.bytes_per_token == 0) {
        return std::nullopt;
    }
    return static_cast<double>(input.bytes_per_token);
}

Value read_bandwidth(const MetricInput& input) {
    if (input.read_bandwidth <= 0) {
        return std::nullopt;
    }
    return input.read_bandwidth;
}

// Steps, not tokens: a batch reads its weights once per step.
Value read_bandwidth_share(const MetricInput& input) {
    const auto step_ns = token_latency_p50(input);
    if (!step_ns || *step_ns <= 0 || input.read_bandwidth <= 0 ||
        input.bytes_per_token < least_bytes_for_share) {
        return std::nullopt;
    }
    return static_cast<double>(input.bytes_per_token) * 1e9 / *step_ns / input.read_bandwidth;
}

}  // namespace bitsweep
