// The keys that a query row sees, and how many blocks share them.
#pragma once

#include <cstdint>

#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::device {

inline constexpr int least_split = 128;  // keys worth a block of their own

__device__ __forceinline__ int split_count(int keys, int most) {
    const int wanted = (keys + least_split - 1) / least_split;
    return max(1, min(wanted, most));
}

// The keys that a row sees.
struct Span {
    int first, last;
};
__device__ __forceinline__ Span span_of(const AttentionCall& call, std::int64_t row) {
    const int last = *call.stretch.position + static_cast<int>(row % call.stretch.tokens) + 1;
    const int window = static_cast<int>(call.shape.window);
    return {window > 0 ? max(0, last - window) : 0, last};
}

}  // namespace bitsweep::device
