// Perplexities over long windows, and the real model from PyPI where set-up has put it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/inference/support.h"

namespace bitsweep::testing_inference {
namespace {

using nlohmann::json;

const std::filesystem::path smollm2 = source_dir / ".deps" / "models" / "SmolLM2-135M.gguf";

TEST(LongText, perplexity_over_windows_of_512_is_that_of_transformers) {
    const json reference = json::parse(read_text(vectors_dir / "models" / "reference.json"));
    for (const std::string& name : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(name));
        const auto engine = engine_or_die(files, {.threads = 2, .context = 512});
        const double wanted =
            reference["models"][name]["perplexity"]["window 512, first 32768 tokens"]["ppl"];
        const auto ids = heldout_ids(files, 32768);
        EXPECT_NEAR(perplexity(*engine, ids, files.config.vocabulary, 512), wanted, 1e-4 * wanted)
            << name;
    }
}

TEST(LongText, the_real_model_has_the_perplexity_and_the_texts_of_transformers) {
    if (!std::filesystem::exists(smollm2)) {
        GTEST_SKIP() << smollm2 << " is not here; scripts/setup fetches it";
    }
    const json reference =
        json::parse(read_text(vectors_dir / "models" / "smollm2-reference.json"));
    const json& wanted = reference["transformers_f32"];
    const ModelFiles files = open_or_die(smollm2);
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto engine = engine_or_die(files, {.threads = 2, .context = 512});

    const auto text_ids = [&](const char* prompt) {
        const auto prompt_ids =
            wanted["greedy"][prompt]["prompt_ids"].get<std::vector<std::int32_t>>();
        EXPECT_EQ(files.tokenizer->encode(prompt), prompt_ids);
        return greedy(*engine, prompt_ids, vocabulary, 32);
    };
    const auto ids_of = [&](const char* prompt) {
        return wanted["greedy"][prompt]["new_ids"].get<std::vector<std::int32_t>>();
    };
    EXPECT_EQ(text_ids("The capital of France is"), ids_of("The capital of France is"));
    // Step 9 is a tie within the rounding of float32 (facts: margin 0.00005): compare up to there.
    auto hello = text_ids("Hello, how are you?");
    auto hello_wanted = ids_of("Hello, how are you?");
    hello.resize(9);
    hello_wanted.resize(9);
    EXPECT_EQ(hello, hello_wanted);

    const auto ids = heldout_ids(files, 19968);
    EXPECT_NEAR(perplexity(*engine, ids, vocabulary, 512), 33.17702173240079, 33.177 * 5e-4);

    const auto window = std::span(ids).first(512);
    const auto exact = score_all(*engine, window, vocabulary);
    const auto half = engine_or_die(files, {.method = "fp16", .threads = 2, .context = 512});
    EXPECT_LT(mean_kl(exact, score_all(*half, window, vocabulary), vocabulary), 1e-4);
}

}  // namespace
}  // namespace bitsweep::testing_inference
