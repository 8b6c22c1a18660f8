// The storage type of method fp32; see README.md here.
#pragma once

#include "worker/inference/quant/shared/dense.h"

namespace bitsweep::quant {

const DenseType& fp32_type();

}  // namespace bitsweep::quant
