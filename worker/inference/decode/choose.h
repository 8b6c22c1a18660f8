// Greedy choice on the device, so that logits need not travel to the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace bitsweep::decode {

// chosen[row]: the smallest index among the largest logits of row [rows, vocabulary]. bad[row]: 1
// where a logit is NaN or infinite, else 0. Queued on `stream`; the launch's error.
cudaError_t choose_rows(const float* logits, std::int64_t rows, std::int64_t vocabulary,
                        std::int32_t* chosen, std::int32_t* bad, cudaStream_t stream);

}  // namespace bitsweep::decode
