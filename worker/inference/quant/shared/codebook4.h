// 4-bit code books with one absmax per block of 32 to 4096 weights (a power of two), as
// bitsandbytes lays them out: blocks run over the flattened row-major weight. nf4 and fp4 differ in
// the sixteen values only. An absmax is a float32, or 8 bits of block_scales.h.
#pragma once

#include <array>

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

struct Codebook {
    alignas(64) std::array<float, 16> value;
    // value[order[0..15]] ascending, and the float32 midpoints between neighbours.
    std::array<std::uint8_t, 16> order;
    std::array<float, 15> midpoint;
    bool two_zeros;  // codes 0 and 8 are both zero: 8 keeps the sign of a small negative value
};

Codebook make_codebook(const std::array<float, 16>& values);

// Codes of the weights of one block: the entry nearest to w * (1 / absmax), computed in
// float32; a value above a midpoint goes up. A block of zeros gets code 0, as on bitsandbytes' GPU
// path (for nf4 that is -1 and dequantises to -0).
void codes_of_block(const Codebook& book, const float* values, std::int64_t count, float absmax,
                    std::uint8_t* codes);

Result<std::unique_ptr<Linear>> pack_codebook(const DenseWeight& weight,
                                              const MethodOptions& options, Backend& backend,
                                              const Codebook& book);

}  // namespace bitsweep::quant
