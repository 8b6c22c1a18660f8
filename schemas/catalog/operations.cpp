#include "schemas/catalog/operations.h"

namespace bitsweep {

double prefill_operations(const ModelShape& shape, std::int64_t batch, std::int64_t tokens) {
    const auto width = static_cast<double>(shape.width);
    const auto embed_width = static_cast<double>(shape.embed_width);
    const auto q = static_cast<double>(shape.heads * shape.head_dim);
    const auto kv = static_cast<double>(shape.kv_heads * shape.head_dim);
    const auto n = static_cast<double>(tokens);
    const bool gated = shape.family != ModelFamily::gpt2 && shape.family != ModelFamily::opt;
    const double mlp = (gated ? 3 : 2) * width * static_cast<double>(shape.ffn);
    const double weights =
        static_cast<double>(shape.layers) * (width * (q + 2 * kv) + q * width + mlp) +
        (embed_width == width ? 0 : 2 * embed_width * width);
    // Token t attends to t + 1 positions, each a product over q values for the score and for the
    // sum.
    const double attention = static_cast<double>(shape.layers) * 2 * q * n * (n + 1) / 2;
    const double head = static_cast<double>(shape.vocabulary) * embed_width;
    return 2 * static_cast<double>(batch) * (n * weights + attention + head);
}

}  // namespace bitsweep
