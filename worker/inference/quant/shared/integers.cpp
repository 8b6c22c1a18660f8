#include "worker/inference/quant/shared/integers.h"

#include <algorithm>
#include <cmath>

namespace bitsweep::quant {

float absmax(const float* values, std::int64_t count) {
    float largest = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::fabs(values[i]));
    }
    return largest;
}

void codes_absmax127(const float* values, std::int64_t count, float largest, std::uint8_t* codes) {
    const double factor = largest > 0 ? 127.0 / static_cast<double>(largest) : 0.0;
    for (std::int64_t i = 0; i < count; ++i) {
        const auto scaled = static_cast<float>(static_cast<double>(values[i]) * factor);
        codes[i] = static_cast<std::uint8_t>(static_cast<int>(round_even(scaled)) + 128);
    }
}

}  // namespace bitsweep::quant
