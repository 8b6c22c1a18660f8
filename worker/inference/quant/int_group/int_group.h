// Codes in groups: what intB-gN, intB-gN-asym and hqq-intB-gN share on the CPU. They differ in how
// codes, scales and zeros are chosen; a weight is (code - 2^(B-1) - zero) * scale.
#pragma once

#include <functional>

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// Whether a group has a zero beside its scale; without, it is 0.
enum class GroupZeros { no, yes };

// What a method chooses for one group. `zero` counts steps from the middle code 2^(B-1), so that it
// is small and a half holds it well.
struct GroupChoice {
    std::uint16_t scale = 0;  // halves
    std::uint16_t zero = 0;
};

// Writes `count` unsigned codes below 2^B for the values of one group.
using GroupQuantiser =
    std::function<GroupChoice(const float* values, std::int64_t count, std::uint8_t* codes)>;

// Quantises every group of options.method's bits and group. invalid_numbers as for_each_row, and
// where a scale becomes infinite.
Result<std::unique_ptr<Linear>> pack_groups(const DenseWeight& weight, const MethodOptions& options,
                                            Backend& backend, GroupZeros zeros,
                                            const GroupQuantiser& quantiser);

// `body` holds B-bit codes in tile order, fp16 scales in tile order [tile][group][lane] and, with
// zeros, as many fp16 zeros behind them.
std::unique_ptr<Linear> make_int_group(LayerBody body, int bits, std::int64_t group,
                                       GroupZeros zeros = GroupZeros::no);

}  // namespace bitsweep::quant
