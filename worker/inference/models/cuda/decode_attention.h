// Attention of one new token a sequence, its key and value stored by the same kernel.
#pragma once

#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::device {

// Whether decode_attention takes the call: one token a sequence, a cache of halves, heads of 64 or
// 128.
bool attends_while_storing(const AttentionCall& call);

// As store_and_attend(); with several splits what they found is left in call.partial.
cudaError_t decode_attention(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream);

}  // namespace bitsweep::device
