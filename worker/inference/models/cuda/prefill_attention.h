// Attention of many neighbouring tokens on tensor cores.
#pragma once

#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::device {

// From so many tokens of a sequence on a tile of 64 queries is worth its unused rows.
inline constexpr std::int64_t prefill_least_tokens = 8;

// As attend(), over any cache but a float one.
cudaError_t attend_prefill(const AttentionCall& call, cudaStream_t stream);

}  // namespace bitsweep::device
