#include "worker/inference/kv_cache.h"

namespace bitsweep {

Result<KvCache> KvCache::create(Backend& backend, const KvShape& shape) {
    const std::int64_t positions = (shape.context + key_block - 1) / key_block * key_block;
    // Dimensions come from a checked config (each below 2^31), but their product may not fit.
    std::uint64_t bytes = shape.type == KvType::f32 ? 8 : 4;
    for (const std::int64_t factor :
         {shape.layers, shape.sequences, positions, shape.kv_heads, shape.head_dim}) {
        ASSERT(factor > 0);
        if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(factor), &bytes)) {
            return make_error(ErrorCode::out_of_memory,
                              "KV cache of " + std::to_string(shape.sequences) + " x " +
                                  std::to_string(shape.context) +
                                  " positions has more than 2^64 bytes; use a smaller batch or "
                                  "context");
        }
    }
    auto buffer = TRY(backend.allocate(bytes, MemoryCategory::kv_cache));
    return KvCache(shape, positions, std::move(buffer));
}

std::byte* KvCache::keys(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const {
    const std::int64_t head = (layer * shape_.sequences + sequence) * shape_.kv_heads + kv_head;
    return buffer_->data() + head * 2 * positions_ * shape_.head_dim * element_bytes();
}

std::byte* KvCache::values(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const {
    return keys(layer, sequence, kv_head) + positions_ * shape_.head_dim * element_bytes();
}

std::uint64_t KvCache::bytes_per_position() const {
    return static_cast<std::uint64_t>(2 * shape_.layers * shape_.kv_heads * shape_.head_dim *
                                      element_bytes());
}

}  // namespace bitsweep
