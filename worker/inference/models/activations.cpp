#include "worker/inference/models/activations.h"

#include <algorithm>

namespace bitsweep {

Result<Activations> make_activations(Backend& backend, const ModelConfig& config,
                                     std::int64_t rows) {
    const bool gate = config.family != ModelFamily::gpt2 && config.family != ModelFamily::opt;
    const std::int64_t wide = std::max(config.width, config.embed_width);
    const std::int64_t q = config.heads * config.head_dim;
    const std::int64_t kv = config.kv_heads * config.head_dim;
    Activations act;
    act.rows = rows;
    struct Part {
        float** pointer;
        std::int64_t width;
    };
    const Part parts[] = {
        {&act.x, wide},
        {&act.h, wide},
        {&act.e, wide},
        {&act.qkv, q + 2 * kv},
        {&act.attn, q},
        {&act.mlp, gate ? 2 * config.ffn : config.ffn},
        {&act.gated, gate ? config.ffn : 0},
        {&act.rotary, gate ? config.head_dim : 0},
    };
    // Each part begins on a cache line.
    const auto floats = [rows](std::int64_t width) { return (rows * width + 15) / 16 * 16; };
    std::int64_t total = 0;
    for (const Part& part : parts) {
        total += floats(part.width);
    }
    act.buffer = TRY(backend.allocate(static_cast<std::size_t>(total) * sizeof(float),
                                      MemoryCategory::activations));
    float* next = act.buffer->as<float>();
    for (const Part& part : parts) {
        *part.pointer = part.width == 0 ? nullptr : next;
        next += floats(part.width);
    }
    return act;
}

}  // namespace bitsweep
