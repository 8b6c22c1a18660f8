#include "worker/metrics/metric_functions.h"

namespace bitsweep {

void kl_by_layer(const MetricInput& input, const PartSink& sink) {
    for (const LayerProbe& probe : input.trace.layers) {
        if (probe.kl) {
            sink(probe.layer, *probe.kl);
        }
    }
}

void latency_by_layer(const MetricInput& input, const PartSink& sink) {
    for (const LayerProbe& probe : input.trace.layers) {
        if (probe.ns) {
            sink(probe.layer, *probe.ns);
        }
    }
}

void bytes_by_layer(const MetricInput& input, const PartSink& sink) {
    for (const LayerProbe& probe : input.trace.layers) {
        sink(probe.layer, static_cast<double>(probe.bytes));
    }
}

}  // namespace bitsweep
