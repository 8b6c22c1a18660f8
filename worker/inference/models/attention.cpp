#include <algorithm>
#include <functional>

#include "worker/inference/models/layers.h"

namespace bitsweep {
namespace {

// One head of keys and values, and the query rows (token, head of its group) that read it.
struct AttentionJob {
    const Pass& pass;
    const AttentionShape& shape;
    const Chunk& chunk;
    const float* qkv;
    float* out;
    std::int64_t layer;
    std::int64_t group;  // query heads per key head
    std::int64_t tiles;  // tiles of max_attention_rows query rows for each key head
    std::int64_t qkv_width;
    std::int64_t out_width;
    KvType type;

    void store(std::int64_t sequence, std::int64_t kv_head) const;
    void run_tile(std::int64_t sequence, std::int64_t kv_head, std::int64_t tile) const;
    void run(std::int64_t begin, std::int64_t end) const;
};

void AttentionJob::store(std::int64_t sequence, std::int64_t kv_head) const {
    const auto store_one = ops().store[static_cast<int>(type)];
    const KvHead head = pass.kv.head(layer, sequence, kv_head);
    const float* row = qkv + sequence * chunk.tokens * qkv_width;
    const float* key = row + (shape.heads + kv_head) * shape.head_dim;
    const float* value = key + shape.kv_heads * shape.head_dim;
    for (std::int64_t token = 0; token < chunk.tokens; ++token) {
        store_one(key + token * qkv_width, value + token * qkv_width, chunk.position + token,
                  shape.head_dim, head);
    }
}

void AttentionJob::run_tile(std::int64_t sequence, std::int64_t kv_head, std::int64_t tile) const {
    AttentionRows rows;
    rows.head_dim = shape.head_dim;
    rows.scale = shape.scale;
    rows.cache = pass.kv.head(layer, sequence, kv_head);
    const std::int64_t begin = tile * max_attention_rows;
    const std::int64_t end = std::min(begin + max_attention_rows, chunk.tokens * group);
    rows.rows = static_cast<int>(end - begin);
    for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t token = i / group;
        const std::int64_t head = kv_head * group + i % group;
        const std::int64_t row = sequence * chunk.tokens + token;
        const std::int64_t position = chunk.position + token;
        rows.q[i - begin] = qkv + row * qkv_width + head * shape.head_dim;
        rows.out[i - begin] = out + row * out_width + head * shape.head_dim;
        rows.last[i - begin] = position + 1;
        rows.first[i - begin] =
            shape.window > 0 ? std::max<std::int64_t>(0, position + 1 - shape.window) : 0;
    }
    ops().attention[static_cast<int>(type)](rows);
}

// Tiles [begin, end) of all (sequence, key head, tile). Later tiles see more keys: light and heavy
// ones alternate, so that equal stretches cost the same.
void AttentionJob::run(std::int64_t begin, std::int64_t end) const {
    for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t step = i % tiles;
        const std::int64_t tile = step % 2 == 0 ? step / 2 : tiles - 1 - step / 2;
        const std::int64_t head = i / tiles;
        run_tile(head / shape.kv_heads, head % shape.kv_heads, tile);
    }
}

}  // namespace

void attend_rows(const Pass& pass, const AttentionShape& shape, std::int64_t layer,
                 const Chunk& chunk, const float* qkv, float* out) {
    const std::int64_t group = shape.heads / shape.kv_heads;
    const AttentionJob job{
        .pass = pass,
        .shape = shape,
        .chunk = chunk,
        .qkv = qkv,
        .out = out,
        .layer = layer,
        .group = group,
        .tiles = (chunk.tokens * group + max_attention_rows - 1) / max_attention_rows,
        .qkv_width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim,
        .out_width = shape.heads * shape.head_dim,
        .type = pass.kv.shape().type,
    };
    const std::int64_t heads = chunk.sequences * shape.kv_heads;
    const auto store = [&job](std::int64_t begin, std::int64_t end) {
        for (std::int64_t head = begin; head < end; ++head) {
            job.store(head / job.shape.kv_heads, head % job.shape.kv_heads);
        }
    };
    const auto run = [&job](std::int64_t begin, std::int64_t end) { job.run(begin, end); };
    // Below some 100,000 multiply-adds (about 5 us) a hand-over costs more than it saves.
    const std::int64_t work =
        chunk.rows() * shape.heads * shape.head_dim * (chunk.position + chunk.tokens);
    if (work < 100'000) {
        store(0, heads);
        run(0, heads * job.tiles);
    } else {
        pass.threads.parallel_for(heads, 1, std::cref(store));
        pass.threads.parallel_for(heads * job.tiles, 1, std::cref(run));
    }
}

}  // namespace bitsweep
