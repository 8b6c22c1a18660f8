#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

Value measured(std::int64_t ns) {
    if (ns <= 0) {
        return std::nullopt;
    }
    return static_cast<double>(ns);
}

}  // namespace

Value load_ns(const MetricInput& input) {
    return measured(input.trace.load.total_ns);
}

Value open_ns(const MetricInput& input) {
    return measured(input.trace.load.open_ns);
}

Value read_ns(const MetricInput& input) {
    return measured(input.trace.load.read_ns);
}

Value pack_ns(const MetricInput& input) {
    return measured(input.trace.load.pack_ns);
}

}  // namespace bitsweep
