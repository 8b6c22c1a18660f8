// Method w8a8 and the products of smoothquant; see README.md here.
#pragma once

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// What shares one absmax of the activations.
enum class InputScope {
    token,   // w8a8, smoothquant-o1: each row, as it comes
    tensor,  // smoothquant-o2: all rows of one call, as they come
    fixed    // smoothquant-o3: all inputs ever, from the calibration
};

// `body` holds 8-bit codes in tile order and float32 scales [out] (absmax / 127); `input_absmax` is
// read where the scope is fixed.
std::unique_ptr<Linear> make_w8a8(LayerBody body, InputScope scope = InputScope::token,
                                  float input_absmax = 0);

}  // namespace bitsweep::quant
