// Parity with transformers in float32: trained models, and a tiny one for every family and option
// without a trained one (make_family_vectors.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/inference/support.h"

namespace bitsweep::testing_inference {
namespace {

using nlohmann::json;

json reference_json() {
    return json::parse(read_text(vectors_dir / "models" / "reference.json"));
}

TEST(Parity, float32_logits_of_the_trained_models_are_those_of_transformers) {
    for (const std::string& name : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(name));
        const Reference reference = read_reference(reference_of(name));
        const auto engine = engine_or_die(files, {.threads = 2});
        const auto at_once = score_all(*engine, reference.ids, reference.vocabulary);
        EXPECT_LE(max_difference(reference.logits, at_once), 1e-3) << name;
        EXPECT_LE(mean_kl(reference.logits, at_once, reference.vocabulary), 1e-9) << name;
        const auto stepwise = decode_all(*engine, reference.ids, reference.vocabulary);
        EXPECT_LE(max_difference(reference.logits, stepwise), 1e-3) << name;
    }
}

TEST(Parity, half_precision_stays_within_a_ten_thousandth_of_a_nat) {
    for (const std::string& name : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(name));
        const Reference reference = read_reference(reference_of(name));
        const auto engine = engine_or_die(files, {.method = "fp16"});
        EXPECT_LT(mean_kl(reference.logits, score_all(*engine, reference.ids, reference.vocabulary),
                          reference.vocabulary),
                  1e-4)
            << name;
        EXPECT_LT(
            mean_kl(reference.logits, decode_all(*engine, reference.ids, reference.vocabulary),
                    reference.vocabulary),
            1e-4)
            << name;
    }
}

TEST(Parity, greedy_ids_of_every_prompt_are_those_of_transformers) {
    const json reference = reference_json();
    for (const std::string& name : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(name));
        const auto engine = engine_or_die(files, {.threads = 2});
        for (const auto& [prompt, text] : reference["models"][name]["greedy"].items()) {
            const auto prompt_ids = text["prompt_ids"].get<std::vector<std::int32_t>>();
            const auto new_ids = text["new_ids"].get<std::vector<std::int32_t>>();
            EXPECT_EQ(files.tokenizer->encode(prompt), prompt_ids) << name;
            EXPECT_EQ(greedy(*engine, prompt_ids, files.config.vocabulary, new_ids.size()), new_ids)
                << name << ": " << prompt;
        }
    }
}

TEST(Parity, perplexity_of_the_held_out_text_is_that_of_transformers) {
    const json reference = reference_json();
    for (const std::string& name : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(name));
        const auto engine = engine_or_die(files, {.threads = 2, .context = 256});
        const double wanted =
            reference["models"][name]["perplexity"]["window 256, first 32768 tokens"]["ppl"];
        const auto ids = heldout_ids(files, 32768);
        EXPECT_NEAR(perplexity(*engine, ids, files.config.vocabulary, 256), wanted, 1e-4 * wanted)
            << name;
    }
}

TEST(Parity, every_family_and_option_without_a_trained_model_matches_its_vectors) {
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(vectors_dir / "families")) {
        const std::string name = entry.path().filename().string();
        const ModelFiles files = open_or_die(entry.path());
        const Reference reference = read_reference(entry.path() / "reference.safetensors");
        const auto context = static_cast<std::int64_t>(reference.ids.size());
        const auto engine = engine_or_die(files, {.threads = 2, .context = context});
        EXPECT_LE(max_difference(reference.logits,
                                 score_all(*engine, reference.ids, reference.vocabulary)),
                  1e-3)
            << name;
        EXPECT_LE(max_difference(reference.logits,
                                 decode_all(*engine, reference.ids, reference.vocabulary)),
                  1e-3)
            << name;
        ++cases;
    }
    EXPECT_EQ(cases, 9);
}

}  // namespace
}  // namespace bitsweep::testing_inference
