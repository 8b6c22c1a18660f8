// Methods fp8 and fp8-channel; see README.md here.
#pragma once

#include "worker/inference/quant/shared/dense.h"

namespace bitsweep::quant {

const DenseType& fp8_type();

}  // namespace bitsweep::quant
