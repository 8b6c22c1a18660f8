#include "schemas/catalog/operations.h"

#include <gtest/gtest.h>

namespace bitsweep {
namespace {

TEST(PrefillOperations, OfOneTokenOfGpt2AreCountedByHand) {
    const double weights = 12 * (768.0 * 2304 + 768 * 768 + 2 * 768 * 3072);
    const double attention = 12 * 2 * 768.0;
    const double head = 50257 * 768.0;
    EXPECT_DOUBLE_EQ(2 * (weights + attention + head),
                     prefill_operations(*find_shape("gpt2"), 1, 1));
}

TEST(PrefillOperations, CountGroupedQueriesAndThreeMatricesOfAGatedMlp) {
    const double weights = 16 * (2048.0 * (2048 + 2 * 512) + 2048 * 2048 + 3 * 2048 * 8192);
    const double attention = 16 * 2 * 2048.0 * (1 + 2 + 3);
    const double head = 128256 * 2048.0;
    EXPECT_DOUBLE_EQ(2 * 4 * (3 * weights + attention + head),
                     prefill_operations(*find_shape("llama-3.2-1b"), 4, 3));
}

TEST(PrefillOperations, OfALongPromptAreTwiceTheParametersPerTokenPlusAttention) {
    const ModelShape& shape = *find_shape("llama-3.1-8b");
    const double per_token = prefill_operations(shape, 1, 512) / 512;
    const double embedding = static_cast<double>(shape.vocabulary * shape.width);
    const double linear = static_cast<double>(shape.parameters) - 2 * embedding;
    EXPECT_GT(per_token, 2 * linear);
    EXPECT_LT(per_token, 2 * linear * 1.02);
}

TEST(PrefillOperations, CountTheProjectionsOfANarrowEmbedding) {
    ModelShape narrow = *find_shape("opt-350m");
    const double with = prefill_operations(narrow, 1, 1);
    const double head = 2.0 * narrow.vocabulary * (narrow.width - narrow.embed_width);
    narrow.embed_width = narrow.width;
    EXPECT_DOUBLE_EQ(2.0 * 2 * 512 * 1024 - head, with - prefill_operations(narrow, 1, 1));
}

}  // namespace
}  // namespace bitsweep
