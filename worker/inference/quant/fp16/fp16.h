// The storage type of method fp16; see README.md here.
#pragma once

#include "worker/inference/quant/shared/dense.h"

namespace bitsweep::quant {

const DenseType& fp16_type();

}  // namespace bitsweep::quant
