#include "worker/inference/kv_cache.h"

namespace bitsweep {
namespace {

std::int64_t bytes_of(KvType type) {
    switch (type) {
        case KvType::f32:
            return 4;
        case KvType::f16:
            return 2;
        case KvType::i8:
        case KvType::e4m3:
            return 1;
    }
    return 0;
}

// Bytes of keys and values of one position of one head.
std::int64_t bytes_of_position(const KvShape& shape) {
    const std::int64_t scale = shape.type == KvType::i8 ? sizeof(float) : 0;
    return 2 * (shape.head_dim * bytes_of(shape.type) + scale);
}

}  // namespace

KvType kv_type(KvFormat format, const MethodId& method) {
    switch (format) {
        case KvFormat::int8:
            return KvType::i8;
        case KvFormat::fp8:
            return KvType::e4m3;
        case KvFormat::bits16:
            break;
    }
    return method.family == MethodFamily::fp32 ? KvType::f32 : KvType::f16;
}

Result<KvCache> KvCache::create(Backend& backend, const KvShape& shape) {
    const std::int64_t positions = (shape.context + key_block - 1) / key_block * key_block;
    // Dimensions come from a checked config (each below 2^31), but their product may not fit.
    std::uint64_t bytes = 1;
    for (const std::int64_t factor :
         {bytes_of_position(shape), shape.layers, shape.sequences, positions, shape.kv_heads}) {
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

std::int64_t KvCache::element_bytes() const {
    return bytes_of(shape_.type);
}

std::int64_t KvCache::position_bytes() const {
    return bytes_of_position(shape_);
}

std::byte* KvCache::keys(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const {
    const std::int64_t head = (layer * shape_.sequences + sequence) * shape_.kv_heads + kv_head;
    return buffer_->data() + head * head_bytes();
}

std::byte* KvCache::values(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const {
    return keys(layer, sequence, kv_head) + positions_ * shape_.head_dim * element_bytes();
}

KvHead KvCache::head(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const {
    KvHead head{keys(layer, sequence, kv_head), values(layer, sequence, kv_head)};
    if (shape_.type == KvType::i8) {
        head.key_scales = reinterpret_cast<float*>(static_cast<std::byte*>(head.values) +
                                                   positions_ * shape_.head_dim * element_bytes());
        head.value_scales = head.key_scales + positions_;
    }
    return head;
}

std::uint64_t KvCache::bytes_per_position() const {
    return static_cast<std::uint64_t>(shape_.layers * shape_.kv_heads * position_bytes());
}

}  // namespace bitsweep
