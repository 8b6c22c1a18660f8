#include <gtest/gtest.h>

#include <set>

#include "schemas/catalog/memory.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {
namespace {

TEST(Shapes, every_row_has_its_published_number_of_parameters) {
    for (const ModelShape& shape : shape_table()) {
        EXPECT_EQ(shape_parameters(shape), shape.parameters) << shape.name;
    }
}

// Counts that were published independently of this table: the hub's, the papers', and those of the
// committed models (tests/inference/vectors/models/reference.json).
TEST(Shapes, the_well_known_counts_are_met) {
    const auto count = [](std::string_view name) {
        const ModelShape* shape = find_shape(name);
        return shape == nullptr ? 0 : shape_parameters(*shape);
    };
    EXPECT_EQ(count("gpt2"), 124'439'808);
    EXPECT_EQ(count("dialogpt-small"), 124'439'808);
    EXPECT_EQ(count("gpt2-xl"), 1'557'611'200);
    EXPECT_EQ(count("opt-125m"), 125'239'296);
    EXPECT_EQ(count("opt-350m"), 331'196'416);
    EXPECT_EQ(count("llama-3.2-1b"), 1'235'814'400);
    EXPECT_EQ(count("llama-3.1-8b"), 8'030'261'248);
    EXPECT_EQ(count("llama-3.1-405b"), 405'853'388'800);
    EXPECT_EQ(count("qwen2.5-0.5b"), 494'032'768);
    EXPECT_EQ(count("qwen2.5-72b"), 72'706'203'648);
    EXPECT_EQ(count("mistral-7b"), 7'241'732'096);
    EXPECT_EQ(count("smollm2-135m"), 134'515'008);
    EXPECT_EQ(count("llama-pico"), 410'048);
    EXPECT_EQ(count("gpt2-nano"), 1'383'168);
    EXPECT_EQ(count("opt-nano"), 1'383'424);
    EXPECT_EQ(count("llama-mini"), 14'162'304);
}

TEST(Shapes, rows_are_consistent_and_names_differ) {
    std::set<std::string_view> names;
    for (const ModelShape& shape : shape_table()) {
        EXPECT_TRUE(names.insert(shape.name).second) << shape.name;
        EXPECT_EQ(shape.heads % shape.kv_heads, 0) << shape.name;
        EXPECT_EQ(shape.width, shape.heads * shape.head_dim) << shape.name;
        const bool learned = shape.family == ModelFamily::gpt2 || shape.family == ModelFamily::opt;
        EXPECT_EQ(shape.rope_theta == 0, learned) << shape.name;
    }
}

TEST(Shapes, a_name_is_found_in_any_case_and_a_mistyped_one_suggests_the_nearest) {
    ASSERT_NE(find_shape("Llama-3.2-1B"), nullptr);
    EXPECT_EQ(find_shape("Llama-3.2-1B")->name, "llama-3.2-1b");
    EXPECT_EQ(find_shape("llama-3.2-2b"), nullptr);
    EXPECT_EQ(nearest_shape("lama-3.2-1b"), "llama-3.2-1b");
    EXPECT_EQ(nearest_shape("smolm2-135M"), "smollm2-135m");
    EXPECT_EQ(nearest_shape("dialogpt_small"), "dialogpt-small");
    EXPECT_FALSE(nearest_shape(std::string(100'000, 'x')).empty());
}

TEST(MemoryFormula, knows_the_published_sizes) {
    const auto bytes = [](std::string_view name, std::string_view method, int head_bits) {
        MemoryQuestion question;
        question.shape = find_shape(name);
        question.method = parse_method(method).value();
        question.head_bits = head_bits;
        return estimate_memory(question);
    };
    // 16 bits: two bytes for every matrix, four for norms and biases (121,344 of them).
    const MemoryBytes gpt2 = bytes("gpt2", "fp16", 16);
    EXPECT_EQ(gpt2.weight_codes + gpt2.embeddings, 2u * (124'439'808 - 121'344));
    EXPECT_EQ(gpt2.other_weights, 4u * 121'344);
    EXPECT_EQ(gpt2.weight_scales, 0u);
    // Keys and values of 2,048 positions: 2 x 16 layers x 8 heads x 64 x 2 bytes each.
    EXPECT_EQ(bytes("llama-3.2-1b", "fp16", 16).kv_cache, 2048u * 2 * 16 * 8 * 64 * 2);
    EXPECT_EQ(bytes("llama-3.2-1b", "fp32", 16).kv_cache, 2048u * 2 * 16 * 8 * 64 * 4);
    // facts: 4.5 bits a weight for nf4, 4.25 for int4-g64.
    const MemoryBytes nf4 = bytes("llama-3.2-1b", "nf4", 8);
    EXPECT_EQ((nf4.weight_codes + nf4.weight_scales) * 8, 973'078'528ull * 9 / 2);
    const MemoryBytes int4 = bytes("llama-3.2-1b", "int4-g64", 8);
    EXPECT_EQ((int4.weight_codes + int4.weight_scales) * 8, 973'078'528ull * 17 / 4);
    EXPECT_EQ(int4.embeddings, 128'256u * 2048 + 128'256u * 4);
}

}  // namespace
}  // namespace bitsweep
