#include "worker/metrics/text.h"

#include <algorithm>

#include "worker/metrics/metric_functions.h"

namespace bitsweep {

TextComparison compare_text(std::span<const std::int32_t> fp32,
                            std::span<const std::int32_t> method) {
    const auto differ = std::mismatch(fp32.begin(), fp32.end(), method.begin(), method.end()).first;
    const auto index = static_cast<std::int64_t>(differ - fp32.begin());
    if (fp32.size() == method.size() && differ == fp32.end()) {
        return {};
    }
    return {index};
}

Value text_identical(const MetricInput& input) {
    if (!input.text) {
        return std::nullopt;
    }
    return input.text->first_divergence ? 0.0 : 1.0;
}

Value text_first_divergence(const MetricInput& input) {
    if (!input.text || !input.text->first_divergence) {
        return std::nullopt;
    }
    return static_cast<double>(*input.text->first_divergence);
}

}  // namespace bitsweep
