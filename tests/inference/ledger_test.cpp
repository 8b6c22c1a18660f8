// The memory formula of the catalog against what the engine really allocates.
#include <gtest/gtest.h>

#include "schemas/catalog/job_memory.h"
#include "tests/inference/support.h"

namespace bitsweep::testing_inference {
namespace {

// One small shape for each family and layout: gated and not, biases, projections, untied head.
std::vector<ModelShape> shapes() {
    std::vector<ModelShape> all{*find_shape("llama-pico"), *find_shape("gpt2-nano"),
                                *find_shape("opt-nano")};
    ModelShape qwen = *find_shape("llama-pico");
    qwen.name = "tiny-qwen2";
    qwen.family = ModelFamily::qwen2;
    qwen.width = qwen.embed_width = 96;  // not a multiple of 64: nf4 may not join q, k and v
    qwen.heads = 6;
    qwen.kv_heads = 2;
    qwen.head_dim = 16;
    qwen.ffn = 200;
    all.push_back(qwen);
    ModelShape mistral = *find_shape("llama-pico");
    mistral.name = "tiny-mistral";
    mistral.family = ModelFamily::mistral;
    mistral.tied = false;
    mistral.head_dim = 48;  // not width / heads
    all.push_back(mistral);
    ModelShape opt = *find_shape("opt-nano");
    opt.name = "tiny-opt-350m";
    opt.embed_width = 80;
    all.push_back(opt);
    return all;
}

void expect_same(const MemoryBytes& formula, const MemoryBytes& ledger, const std::string& what) {
    EXPECT_EQ(formula.weight_codes, ledger.weight_codes) << what;
    EXPECT_EQ(formula.weight_scales, ledger.weight_scales) << what;
    EXPECT_EQ(formula.embeddings, ledger.embeddings) << what;
    EXPECT_EQ(formula.other_weights, ledger.other_weights) << what;
    EXPECT_EQ(formula.kv_cache, ledger.kv_cache) << what;
    EXPECT_GE(formula.activations, ledger.activations) << what;
    EXPECT_GE(formula.workspace, ledger.workspace) << what;
}

TEST(Ledger, equals_the_formula_for_every_method_and_family_before_and_after_use) {
    for (const ModelShape& shape : shapes()) {
        const ModelFiles files = random_model(shape);
        for (const std::string& method : all_methods()) {
            const EngineWish wish{.method = method, .threshold = 4, .batch = 2, .context = 90};
            const auto engine = engine_or_die(files, wish);
            MemoryQuestion question;
            question.shape = &shape;
            question.method = method_of(method);
            question.batch = wish.batch;
            question.context = wish.context;
            const std::string what = std::string(shape.name) + " " + method;
            expect_same(estimate_memory(question), engine->memory(), what);
            std::vector<std::int32_t> ids(2 * 80, 7);
            ASSERT_TRUE(engine->forward(ids, 80, nullptr).ok()) << what;
            const std::vector<std::int32_t> one{1, 2};
            ASSERT_TRUE(engine->forward(one, 1, nullptr).ok()) << what;
            expect_same(estimate_memory(question), engine->memory(), what + " after use");
        }
    }
}

// Every linear layer of a model in an order of its own, the methods one after the other.
LayerMethods policy_of(const ModelShape& shape, const std::vector<std::string>& methods) {
    const bool gpt2 = shape.family == ModelFamily::gpt2, opt = shape.family == ModelFamily::opt;
    const std::vector<std::string> of_a_layer =
        gpt2  ? std::vector<std::string>{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}
        : opt ? std::vector<std::string>{"self_attn.qkv_proj", "self_attn.out_proj", "fc1", "fc2"}
              : std::vector<std::string>{"self_attn.qkv_proj", "self_attn.o_proj",
                                         "mlp.gate_up_proj", "mlp.down_proj"};
    const std::string prefix = gpt2 ? "h." : opt ? "decoder.layers." : "model.layers.";
    std::vector<std::string> names;
    for (std::int64_t i = 0; i < shape.layers; ++i) {
        for (const std::string& name : of_a_layer) {
            names.push_back(prefix + std::to_string(i) + "." + name);
        }
    }
    if (shape.embed_width != shape.width) {
        names.insert(names.end(), {"decoder.project_in", "decoder.project_out"});
    }
    LayerMethods layers;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const auto method = parse_layer_method(methods[i % methods.size()]);
        EXPECT_TRUE(method) << names[i];
        layers[names[i]] = method ? *method : LayerMethod{};
    }
    return layers;
}

TEST(Ledger, equals_the_formula_for_a_policy_of_layers) {
    const std::vector<std::vector<std::string>> policies = {
        {"llmint8-paper@4"},
        {"int4-g64", "llmint8-paper@6", "fp32", "nf4", "int8"},
        {"fp16", "llmint8-paper@0", "int3-g64-asym"}};
    for (const ModelShape& shape : shapes()) {
        const ModelFiles files = random_model(shape);
        for (const std::vector<std::string>& methods : policies) {
            EngineWish wish{.method = "mixed", .batch = 2, .context = 90};
            wish.layers = policy_of(shape, methods);
            const auto engine = engine_or_die(files, wish);
            std::vector<std::int32_t> ids(2 * 80, 7);
            const std::string what = std::string(shape.name) + " " + methods.front();
            ASSERT_TRUE(engine->forward(ids, 80, nullptr).ok()) << what;
            MemoryQuestion question;
            question.shape = &shape;
            question.method = method_of("mixed");
            question.batch = wish.batch;
            question.context = wish.context;
            expect_same(estimate_memory(question, wish.layers), engine->memory(), what);
        }
    }
}

TEST(Ledger, equals_the_formula_for_every_width_of_the_head) {
    for (const ModelShape& shape : shapes()) {
        const ModelFiles files = random_model(shape);
        for (const std::string method : {"fp32", "fp16", "bf16", "int4-g64"}) {
            for (const int head_bits : {16, 8, 4}) {
                const auto engine =
                    engine_or_die(files, {.method = method, .head_bits = head_bits, .context = 33});
                MemoryQuestion question;
                question.shape = &shape;
                question.method = method_of(method);
                question.head_bits = head_bits;
                question.context = 33;
                expect_same(
                    estimate_memory(question), engine->memory(),
                    std::string(shape.name) + " " + method + " head " + std::to_string(head_bits));
            }
        }
    }
}

TEST(Ledger, is_the_same_before_and_after_scoring_a_window_longer_than_the_context) {
    const ModelFiles files = random_or_die("llama-pico");
    const auto engine = engine_or_die(files, {.method = "fp16", .context = 20});
    const std::vector<std::int32_t> ids(200, 3);
    score_all(*engine, ids, files.config.vocabulary);
    const MemoryBytes once = engine->memory();
    EXPECT_EQ(once.kv_cache, 2u * 3 * 32 * 32 * 2);  // 20 positions, rounded up to 32
    EXPECT_LT(once.activations, 200'000u);           // not the 200 rows of the window
    score_all(*engine, ids, files.config.vocabulary);
    EXPECT_EQ(engine->memory().total(), once.total());
}

TEST(Ledger, a_token_reads_all_weights_once_and_the_cache_so_far) {
    const ModelFiles files = random_or_die("llama-pico");
    const auto engine = engine_or_die(files, {.method = "int8", .context = 64});
    const MemoryBytes bytes = engine->memory();
    const std::uint64_t weights =
        bytes.weight_codes + bytes.weight_scales + bytes.embeddings + bytes.other_weights;
    const std::uint64_t per_key = 2u * 3 * 32 * 2;  // keys and values of three layers in fp16
    EXPECT_EQ(engine->bytes_per_token(0), weights + per_key);
    EXPECT_EQ(engine->bytes_per_token(40), weights + 41 * per_key);
}

}  // namespace
}  // namespace bitsweep::testing_inference
