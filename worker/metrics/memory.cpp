#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

std::uint64_t all_weights(const MemoryBytes& bytes) {
    return bytes.weight_codes + bytes.weight_scales + bytes.embeddings + bytes.other_weights;
}

// A category is an exact count, so its 0 is a fact; an empty ledger was never read.
Value counted(const MetricInput& input, std::uint64_t bytes) {
    if (input.ledger.total() == 0) {
        return std::nullopt;
    }
    return static_cast<double>(bytes);
}

Value if_known(std::uint64_t bytes) {
    if (bytes == 0) {
        return std::nullopt;
    }
    return static_cast<double>(bytes);
}

}  // namespace

Value weights_codes_bytes(const MetricInput& input) {
    return counted(input, input.ledger.weight_codes);
}

Value weights_scales_bytes(const MetricInput& input) {
    return counted(input, input.ledger.weight_scales);
}

Value embeddings_bytes(const MetricInput& input) {
    return counted(input, input.ledger.embeddings);
}

Value other_weights_bytes(const MetricInput& input) {
    return counted(input, input.ledger.other_weights);
}

Value weights_bytes(const MetricInput& input) {
    return counted(input, all_weights(input.ledger));
}

Value weights_ratio(const MetricInput& input) {
    if (input.ledger.total() == 0 || input.baseline_weights == 0) {
        return std::nullopt;
    }
    return static_cast<double>(all_weights(input.ledger)) /
           static_cast<double>(input.baseline_weights);
}

Value kv_cache_bytes(const MetricInput& input) {
    return counted(input, input.ledger.kv_cache);
}

Value activations_bytes(const MetricInput& input) {
    return counted(input, input.ledger.activations);
}

Value workspace_bytes(const MetricInput& input) {
    return counted(input, input.ledger.workspace);
}

Value allocated_bytes(const MetricInput& input) {
    return counted(input, input.ledger.total());
}

Value resident_before_bytes(const MetricInput& input) {
    return if_known(input.resident_before);
}

Value peak_rss_bytes(const MetricInput& input) {
    return if_known(input.peak_rss);
}

}  // namespace bitsweep
