#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

Value measured(std::int64_t value) {
    if (value <= 0) {
        return std::nullopt;
    }
    return static_cast<double>(value);
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

Value calibration_ns(const MetricInput& input) {
    return measured(input.trace.load.calibration_ns);
}

Value calibration_peak_bytes(const MetricInput& input) {
    return measured(static_cast<std::int64_t>(input.trace.load.calibration_peak_bytes));
}

}  // namespace bitsweep
