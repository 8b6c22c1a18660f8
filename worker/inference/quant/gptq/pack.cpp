#include <cmath>
#include <vector>

#include "worker/inference/quant/int_group/int_group.h"
#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::quant {

// The weights of a calibrated source stand on the grid of their scales: dividing gives the codes
// back exactly. Without a calibration (random weights) the codes are those of intB-gN.
PackResult pack_gptq(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    if (!weight.grid) {
        return pack_int_group(weight, options, backend);
    }
    std::vector<float> scales(static_cast<std::size_t>(weight.out_features * weight.grid_width));
    TRY(weight.grid(0, weight.out_features, scales.data()));
    auto next = scales.cbegin();  // pack_groups asks row by row, group by group
    const float offset = static_cast<float>(1 << (options.method.weight_bits - 1));
    return pack_groups(weight, options, backend, GroupZeros::no,
                       [&](const float* values, std::int64_t count, std::uint8_t* codes) {
                           const float scale = *next++;
                           for (std::int64_t i = 0; i < count; ++i) {
                               const float code = scale > 0 ? round_even(values[i] / scale) : 0.0f;
                               codes[i] = static_cast<std::uint8_t>(code + offset);
                           }
                           return GroupChoice{f32_to_f16(scale), 0};
                       });
}

}  // namespace bitsweep::quant
