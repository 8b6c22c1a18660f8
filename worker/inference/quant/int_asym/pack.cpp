#include <algorithm>

#include "worker/inference/quant/int_group/int_group.h"
#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::quant {
namespace {

// README.md here. Codes by the stored scale and zero.
GroupChoice quantise(const float* values, std::int64_t count, int bits, std::uint8_t* codes) {
    float low = 0, high = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        low = std::min(low, values[i]);
        high = std::max(high, values[i]);
    }
    const auto offset = static_cast<float>(1 << (bits - 1)), levels = 2 * offset - 1;
    const std::uint16_t stored = f32_to_f16((high - low) / levels);
    const float scale = f16_to_f32(stored);
    const float zero =
        scale > 0 ? std::clamp(round_even(-low / scale), 0.0f, levels) - offset : 0.0f;
    for (std::int64_t i = 0; i < count; ++i) {
        const float steps = scale > 0 ? round_even(values[i] / scale) : 0.0f;
        codes[i] = static_cast<std::uint8_t>(std::clamp(steps + zero + offset, 0.0f, levels));
    }
    return {stored, f32_to_f16(zero)};
}

}  // namespace

PackResult pack_int_asym(const DenseWeight& weight, const MethodOptions& options,
                         Backend& backend) {
    const int bits = options.method.weight_bits;
    return pack_groups(weight, options, backend, GroupZeros::yes,
                       [bits](const float* values, std::int64_t count, std::uint8_t* codes) {
                           return quantise(values, count, bits, codes);
                       });
}

}  // namespace bitsweep::quant
