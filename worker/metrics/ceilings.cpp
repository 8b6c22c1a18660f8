// Rows of what this card reaches at best, and of what a prefill reaches of it.
#include "worker/metrics/metric_functions.h"
#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

Value ceiling(const MetricInput& input, double DeviceCeilings::*which) {
    if (input.ceilings == nullptr || input.ceilings->*which <= 0) {
        return std::nullopt;
    }
    return input.ceilings->*which;
}

}  // namespace

Value copy_bandwidth(const MetricInput& input) {
    return ceiling(input, &DeviceCeilings::copy_bandwidth);
}

Value launch_latency(const MetricInput& input) {
    return ceiling(input, &DeviceCeilings::launch_ns);
}

Value launch_round_trip(const MetricInput& input) {
    return ceiling(input, &DeviceCeilings::round_trip_ns);
}

Value graph_node_latency(const MetricInput& input) {
    return ceiling(input, &DeviceCeilings::graph_node_ns);
}

Value fp16_products(const MetricInput& input) {
    return ceiling(input, &DeviceCeilings::fp16_flops);
}

Value int8_products(const MetricInput& input) {
    return ceiling(input, &DeviceCeilings::int8_ops);
}

Value prefill_products(const MetricInput& input) {
    const auto ns = first_token_ns(input);
    if (!ns || *ns <= 0 || input.prefill_operations <= 0) {
        return std::nullopt;
    }
    return input.prefill_operations / *ns * 1e9;
}

Value prefill_products_share(const MetricInput& input) {
    const auto reached = prefill_products(input);
    const auto most = input.int8_products ? int8_products(input) : fp16_products(input);
    return reached && most ? Value(*reached / *most) : std::nullopt;
}

}  // namespace bitsweep
