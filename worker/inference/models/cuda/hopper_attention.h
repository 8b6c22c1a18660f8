// Attention of a long prompt on a Hopper card.
#pragma once

#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::device {

// Whether attend_hopper takes the call: sm_90a, a cache of halves, heads of 64 or 128, and tokens
// enough to fill the card's tiles.
bool hopper_attends(const AttentionCall& call);

// As attend().
cudaError_t attend_hopper(const AttentionCall& call, cudaStream_t stream);

}  // namespace bitsweep::device
