// Methods smoothquant-o1, -o2, -o3 and their -channel variants; see README.md here.
#pragma once

#include "schemas/catalog/methods.h"
#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// What shares one absmax of the activations.
enum class InputScope {
    token,   // o1: each row, as it comes
    tensor,  // o2: all rows of one call, as they come
    fixed    // o3: all inputs ever, from the calibration
};

InputScope input_scope(const MethodId& method);

// `body` as make_w8a8 (w8a8.h); `input_absmax` is read where the scope is fixed.
std::unique_ptr<Linear> make_smoothquant(LayerBody body, InputScope scope, float input_absmax);

// invalid_input: o3 without a static scale (random weights have no calibration).
Status check_input_scale(const DenseWeight& weight, InputScope scope);

}  // namespace bitsweep::quant
