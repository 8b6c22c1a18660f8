// Scales of 4-bit blocks in 8 bits: "double quantisation" of QLoRA (arXiv 2305.14314) as
// bitsandbytes does it. What a block's absmax is above their mean is a code of its dynamic map
// times the largest such difference of 256 blocks:
//
//     absmax' = map[code] * nested[block / 256] + offset
//
// Together 8 + 32 / 256 bits a block, so that blocks of 64 take 4.127 bits a weight, not 4.5.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace bitsweep::quant {

inline constexpr std::int64_t nested_block = 256;  // scales that share one of their own

// Signed values of growing distance, ascending: 0, 1 and for each power of ten from 10^-6 to 1 the
// middles of 1, 2, 4 .. 64 equal parts of a tenth to one of it, of both signs. The float32 values
// of bitsandbytes.
const std::array<float, 256>& dynamic_map();

// As they are stored one after another: floats first, then codes, padded to whole floats.
struct NestedScales {
    float offset = 0;
    std::vector<float> nested;  // [ceil(blocks / 256)]
    std::vector<std::uint8_t> codes;

    std::vector<std::uint8_t> stored() const;
};

// The code nearest to each difference, in float32; where 256 differences are all 0, code 0.
NestedScales nest_scales(std::span<const float> absmax);

// Where codes begin in stored(), in bytes.
inline std::int64_t nested_codes_at(std::int64_t blocks) {
    return 4 * (1 + (blocks + nested_block - 1) / nested_block);
}

// The absmax of one block from stored().
inline float nested_scale(const std::uint8_t* stored, std::int64_t blocks, std::int64_t block) {
    const auto* floats = reinterpret_cast<const float*>(stored);
    const std::uint8_t code = stored[nested_codes_at(blocks) + block];
    return dynamic_map()[code] * floats[1 + block / nested_block] + floats[0];
}

}  // namespace bitsweep::quant
