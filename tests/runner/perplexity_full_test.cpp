// Perplexity of whole jobs against what transformers computed, by the convention of reference.json:
// non-overlapping windows, each scored on its positions 2..n.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/runner/support.h"

namespace bitsweep::test {
namespace {

double fp32_perplexity(JobSpec spec, std::int64_t tokens, std::int64_t window) {
    spec.quality.tokens = tokens;
    spec.quality.window = window;
    const Served served = serve(std::vector{spec});
    EXPECT_EQ(1U, served.results.size());
    if (served.results.empty()) {
        return 0;
    }
    EXPECT_EQ(OutcomeClass::done, served.results[0].outcome.outcome)
        << served.results[0].outcome.message;
    return values_of(served.results[0])["perplexity_fp32"];
}

TEST(Perplexity, OfEveryTrainedModelIsWithinAHundredthOfAPercentOfTransformers) {
    std::ifstream file(source_dir() / "tests/inference/vectors/models/reference.json");
    const nlohmann::json reference = nlohmann::json::parse(file);
    for (const char* model : {"llama-pico", "llama-nano", "llama-micro", "gpt2-nano", "opt-nano"}) {
        for (const std::int64_t window : {256, 512}) {
            const std::string key = "window " + std::to_string(window) + ", first 32768 tokens";
            const double wanted = reference["models"][model]["perplexity"][key]["ppl"];
            const double got = fp32_perplexity(job_of(model, "fp16"), 32768, window);
            EXPECT_NEAR(wanted, got, wanted * 1e-4) << model << ", window " << window;
        }
    }
}

TEST(Perplexity, OfSmolLM2IsWithinAFewHundredthsOfAPercentOfTransformers) {
    const auto model = source_dir() / ".deps/models/SmolLM2-135M.gguf";
    if (!std::filesystem::exists(model)) {
        GTEST_SKIP() << model << " is not there: run scripts/setup";
    }
    JobSpec spec = job_of("smollm2-135m", "fp16");
    spec.model.path = model;
    EXPECT_NEAR(33.1770, fp32_perplexity(spec, 20000, 512), 33.1770 * 5e-4);
}

}  // namespace
}  // namespace bitsweep::test
