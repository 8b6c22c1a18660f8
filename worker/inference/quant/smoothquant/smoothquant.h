// Methods smoothquant-o1, -o2, -o3 and their -channel variants; see README.md here.
#pragma once

#include "schemas/catalog/methods.h"
#include "worker/inference/quant/method.h"
#include "worker/inference/quant/w8a8/w8a8.h"

namespace bitsweep::quant {

InputScope input_scope(const MethodId& method);

// invalid_input: o3 without a static scale (random weights have no calibration).
Status check_input_scale(const DenseWeight& weight, InputScope scope);

}  // namespace bitsweep::quant
