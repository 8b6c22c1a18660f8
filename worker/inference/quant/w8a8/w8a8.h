// Method w8a8; see README.md here.
#pragma once

#include "worker/inference/quant/shared/layer.h"
#include "worker/inference/quant/shared/tokens.h"

namespace bitsweep::quant {

// `body` holds 8-bit codes in tile order and float32 scales [out] (absmax / 127).
std::unique_ptr<Linear> make_w8a8(LayerBody body);

// Outputs of finished tokens: exact int32 sums, scaled. smoothquant's product, too.
void w8a8_product(const LayerBody& body, const Kernels* kernels, const Tokens& tokens,
                  const LinearCall& call);

}  // namespace bitsweep::quant
