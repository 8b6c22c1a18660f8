#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/inference/quant/int_group/int_group.h"
#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

// Codes of one group by its stored scale; |q| <= 2^(bits-1) - 1.
void codes_of_group(const float* values, std::int64_t count, float scale, int bits,
                    std::uint8_t* codes) {
    const int largest = (1 << (bits - 1)) - 1;
    const int offset = 1 << (bits - 1);
    for (std::int64_t i = 0; i < count; ++i) {
        const float steps = scale > 0 ? values[i] / scale : 0.0f;
        const float bounded =
            std::clamp(steps, static_cast<float>(-largest), static_cast<float>(largest));
        codes[i] = static_cast<std::uint8_t>(static_cast<int>(round_even(bounded)) + offset);
    }
}

}  // namespace

PackResult pack_int_group(const DenseWeight& weight, const MethodOptions& options,
                          Backend& backend) {
    const int bits = options.method.weight_bits;
    const auto levels = static_cast<float>((1 << (bits - 1)) - 1);
    return pack_groups(weight, options, backend, GroupZeros::no,
                       [&](const float* values, std::int64_t count, std::uint8_t* codes) {
                           const std::uint16_t stored = f32_to_f16(absmax(values, count) / levels);
                           codes_of_group(values, count, f16_to_f32(stored), bits, codes);
                           return GroupChoice{stored, 0};
                       });
}

PackResult pack_groups(const DenseWeight& weight, const MethodOptions& options, Backend& backend,
                       GroupZeros zeros, const GroupQuantiser& quantiser) {
    LayerBody body = TRY(allocate_body(weight, options, backend));
    const int bits = options.method.weight_bits;
    const std::int64_t group = options.method.group;
    const std::int64_t groups = (body.in + group - 1) / group;
    const TileLayout layout{bits, body.out, body.in};
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(body.in));
    auto* scales = body.scales->as<std::uint16_t>();
    TRY(for_each_row(weight, Element::f32, [&](std::int64_t row, const float* values) -> Status {
        for (std::int64_t g = 0; g < groups; ++g) {
            const std::int64_t begin = g * group;
            const std::int64_t count = std::min(group, body.in - begin);
            const GroupChoice chosen = quantiser(values + begin, count, codes.data() + begin);
            if (!std::isfinite(f16_to_f32(chosen.scale))) {
                return make_error(ErrorCode::invalid_numbers,
                                  weight.name + ": row " + std::to_string(row) + ", group " +
                                      std::to_string(g) + " holds " +
                                      std::to_string(absmax(values + begin, count)) +
                                      ": its scale does not fit fp16; use int8");
            }
            const std::size_t at = layout.scale_index(row, g, groups);
            scales[at] = chosen.scale;
            if (zeros == GroupZeros::yes) {
                scales[static_cast<std::size_t>(body.out * groups) + at] = chosen.zero;
            }
        }
        layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data());
        return {};
    }));
    return make_int_group(std::move(body), bits, group, zeros);
}

}  // namespace bitsweep::quant
