// The sixteen values of method nf4; see README.md here.
#pragma once

#include "worker/inference/quant/shared/codebook4.h"

namespace bitsweep::quant {

const Codebook& nf4_codebook();

}  // namespace bitsweep::quant
