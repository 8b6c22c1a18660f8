// The storage type of method bf16; see README.md here.
#pragma once

#include "worker/inference/quant/shared/dense.h"

namespace bitsweep::quant {

const DenseType& bf16_type();

}  // namespace bitsweep::quant
