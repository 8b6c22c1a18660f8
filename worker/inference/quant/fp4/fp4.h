// The sixteen values of method fp4; see README.md here.
#pragma once

#include "worker/inference/quant/shared/codebook4.h"

namespace bitsweep::quant {

const Codebook& fp4_codebook();

}  // namespace bitsweep::quant
