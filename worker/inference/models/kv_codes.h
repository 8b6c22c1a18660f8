// A number as a cache of type e4m3 holds it: finite ones stay finite, 448 in magnitude at most;
// what is not finite is NaN. The codes themselves: quant/fp8/e4m3.h.
#pragma once

#include <cstdint>
#include <limits>

#include "worker/inference/quant/fp8/e4m3.h"

namespace bitsweep {

inline std::uint8_t e4m3_of_cache(float value) {
    constexpr float most = std::numeric_limits<float>::max();
    constexpr float largest = quant::e4m3::largest;
    if (value > largest && value <= most) {
        return quant::e4m3::encode(largest);
    }
    if (value < -largest && value >= -most) {
        return quant::e4m3::encode(-largest);
    }
    return quant::e4m3::encode(value);
}

}  // namespace bitsweep
