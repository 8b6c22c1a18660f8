// Methods intB-gN; see README.md here.
#pragma once

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// `body` holds B-bit codes in tile order and fp16 scales in tile order [tile][group][lane].
std::unique_ptr<Linear> make_int_group(LayerBody body, int bits, std::int64_t group);

}  // namespace bitsweep::quant
