#include "worker/inference/quant/llmint8/scales.h"

#include <algorithm>
#include <cmath>

#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::quant {

Int8Scales int8_scales(const MethodId& method) {
    Int8Scales scales;
    scales.weight_by_tensor = scales_by_tensor(method);
    const bool by_row = method.text == "int8-rowwise";
    scales.input = scales.weight_by_tensor && !by_row ? InputScope::tensor : InputScope::token;
    scales.zero_points = method.text.starts_with("int8-zeropoint");
    return scales;
}

ZeroPoint zero_point(float least, float most) {
    ZeroPoint point;
    point.half_range = most / 2 - least / 2;
    if (point.half_range > 0) {
        const double step = static_cast<double>(point.half_range) / 127.0;
        point.zero =
            static_cast<std::int32_t>(std::nearbyint(static_cast<double>(least) / step)) + 127;
    }
    return point;
}

void codes_by_zero_point(const float* x, std::int64_t count, const ZeroPoint& point,
                         std::int8_t* codes) {
    const double factor =
        point.half_range > 0 ? 127.0 / static_cast<double>(point.half_range) : 0.0;
    const auto zero = static_cast<double>(point.zero);
    for (std::int64_t i = 0; i < count; ++i) {
        const double scaled = std::isfinite(x[i]) ? static_cast<double>(x[i]) * factor : 0.0;
        codes[i] =
            static_cast<std::int8_t>(std::clamp(std::nearbyint(scaled) - zero, -127.0, 127.0));
    }
}

void Range::add(const float* x, std::int64_t count, double threshold) {
    const bool all = threshold <= 0;
    const auto limit = static_cast<float>(threshold);
    for (std::int64_t i = 0; i < count; ++i) {
        if (all || std::fabs(x[i]) < limit) {
            least = std::min(least, x[i]);
            most = std::max(most, x[i]);
            finite &= std::isfinite(x[i]);
        }
    }
}

}  // namespace bitsweep::quant
