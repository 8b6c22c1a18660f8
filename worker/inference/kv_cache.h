// Keys and values of every position of every sequence, allocated once.
#pragma once

#include <cstdint>
#include <memory>

#include "schemas/catalog/memory.h"
#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/models/ops.h"

namespace bitsweep {

struct KvShape {
    std::int64_t layers = 0;
    std::int64_t sequences = 0;
    std::int64_t context = 0;  // positions per sequence, as asked for
    std::int64_t kv_heads = 0;
    std::int64_t head_dim = 0;
    KvType type = KvType::f16;
};

// What `kv` of a cell is stored as: 16 bits are float32 where all else is.
KvType kv_type(KvFormat format, const MethodId& method);

// One contiguous buffer [layer][sequence][kv_head][keys, values, scales of keys, of values];
// positions are rounded up to key_block. Stale entries beyond the present length are never weighed
// by attention.
class KvCache {
 public:
    static Result<KvCache> create(Backend& backend, const KvShape& shape);

    // Keys in blocks (ops.h) on the CPU, in rows on a device, values in rows, of one head of one
    // sequence.
    std::byte* keys(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const;
    std::byte* values(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const;

    // Null scales where the type has none.
    KvHead head(std::int64_t layer, std::int64_t sequence, std::int64_t kv_head) const;

    // Elements from one head to the next.
    std::int64_t head_stride() const { return head_bytes() / element_bytes(); }

    // Scales from one head to the next, of keys or of values.
    std::int64_t scale_stride() const {
        return head_bytes() / static_cast<std::int64_t>(sizeof(float));
    }

    const KvShape& shape() const { return shape_; }
    // Bytes of keys and values of one position over all layers of one sequence.
    std::uint64_t bytes_per_position() const;

 private:
    KvCache(const KvShape& shape, std::int64_t positions, std::unique_ptr<Buffer> buffer)
        : shape_(shape), positions_(positions), buffer_(std::move(buffer)) {}

    std::int64_t element_bytes() const;
    // Keys and values of one position of one head, with their scales.
    std::int64_t position_bytes() const;
    std::int64_t head_bytes() const { return positions_ * position_bytes(); }

    KvShape shape_;
    std::int64_t positions_;  // context rounded up to key_block
    std::unique_ptr<Buffer> buffer_;
};

}  // namespace bitsweep
