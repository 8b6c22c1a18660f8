// Method w8a8; see README.md here.
#pragma once

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// `body` holds 8-bit codes in tile order and float32 scales [out] (absmax / 127).
std::unique_ptr<Linear> make_w8a8(LayerBody body);

}  // namespace bitsweep::quant
