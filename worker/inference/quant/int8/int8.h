// Method int8; see README.md here.
#pragma once

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// `body` holds 8-bit codes in tile order and float32 scales [out].
std::unique_ptr<Linear> make_int8(LayerBody body);

}  // namespace bitsweep::quant
