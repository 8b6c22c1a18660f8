#include <algorithm>

#include "worker/inference/quant/method.h"

namespace bitsweep {

Result<std::byte*> Workspace::reserve(int slot, std::size_t bytes) {
    ASSERT(slot >= 0 && slot < 64);
    const auto index = static_cast<std::size_t>(slot);
    if (slots_.size() <= index) {
        slots_.resize(index + 1);
    }
    auto& buffer = slots_[index];
    if (buffer == nullptr || buffer->bytes() < bytes) {
        buffer.reset();  // before the new one: both together would be the peak
        buffer =
            TRY(backend_.allocate(std::max<std::size_t>(bytes, 64), MemoryCategory::workspace));
    }
    return buffer->data();
}

}  // namespace bitsweep
