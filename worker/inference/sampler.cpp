#include "worker/inference/engine.h"
#include "worker/inference/models/ops.h"

namespace bitsweep {

std::int32_t argmax(std::span<const float> logits) {
    ASSERT(!logits.empty());
    return static_cast<std::int32_t>(
        ops().argmax(logits.data(), static_cast<std::int64_t>(logits.size())));
}

}  // namespace bitsweep
