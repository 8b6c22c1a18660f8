// Every method on every family: finite, close, ordered, and the same step by step as at once.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "tests/inference/support.h"

namespace bitsweep::testing_inference {
namespace {

std::vector<std::filesystem::path> families() {
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(vectors_dir / "families")) {
        folders.push_back(entry.path());
    }
    EXPECT_GE(folders.size(), 9u);
    return folders;
}

// Error bounds of a random network of two layers at each width, about 1.5 times the worst seen; a
// network that computes something else has 2 to 10.
double kl_bound(const MethodId& method) {
    switch (method.weight_bits) {
        case 2:
            return 6;
        case 3:
        case 4:
            return 1.5;
        case 5:
            return 0.1;
        default:
            return 0.05;
    }
}

TEST(Methods, run_on_every_family_and_stay_near_the_reference) {
    for (const auto& folder : families()) {
        const ModelFiles files = open_or_die(folder);
        const Reference reference = read_reference(folder / "reference.safetensors");
        const auto ids = std::span(reference.ids).first(70);
        const auto wanted =
            std::span(reference.logits).first(70 * static_cast<std::size_t>(reference.vocabulary));
        for (const std::string& method : all_methods()) {
            for (const int head_bits : {16, 8, 4}) {
                const auto engine = engine_or_die(
                    files,
                    {.method = method, .threshold = 3, .head_bits = head_bits, .context = 80});
                const auto logits = score_all(*engine, ids, reference.vocabulary);
                const double bound = kl_bound(method_of(method)) + (head_bits == 4 ? 0.5 : 0);
                EXPECT_LT(mean_kl(wanted, logits, reference.vocabulary), bound)
                    << folder.filename() << " " << method << " head " << head_bits;
            }
        }
    }
}

TEST(Methods, decoding_step_by_step_equals_prefill) {
    for (const auto& folder : families()) {
        const ModelFiles files = open_or_die(folder);
        const Reference reference = read_reference(folder / "reference.safetensors");
        const auto ids = std::span(reference.ids).first(40);
        for (const std::string& method : all_methods()) {
            if (method == "int8-absmax-tensor" || method == "int8-zeropoint") {
                continue;  // one scale for all rows of a call: a step has a call of its own
            }
            // Without a threshold: with one, a prefill leaves out a whole column where one of its
            // tokens has an outlier, and a step only knows its own.
            const auto engine = engine_or_die(files, {.method = method, .context = 80});
            const auto at_once = score_all(*engine, ids, reference.vocabulary);
            const auto stepwise = decode_all(*engine, ids, reference.vocabulary);
            const bool rounds = method_of(method).rounds_activations;
            EXPECT_LT(mean_kl(at_once, stepwise, reference.vocabulary), rounds ? 1e-3 : 1e-6)
                << folder.filename() << " " << method;
        }
    }
}

TEST(Methods, more_bits_are_never_worse) {
    for (const char* name : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const auto ids = heldout_ids(files, 256);
        const std::int64_t vocabulary = files.config.vocabulary;
        const auto reference = score_all(*engine_or_die(files, {.context = 256}), ids, vocabulary);
        for (const std::string group : {"32", "128"}) {
            double last = 1e9;
            for (int bits = 2; bits <= 8; ++bits) {
                const std::string method = "int" + std::to_string(bits) + "-g" + group;
                const auto engine =
                    engine_or_die(files, {.method = method, .threads = 2, .context = 256});
                const double kl =
                    mean_kl(reference, score_all(*engine, ids, vocabulary), vocabulary);
                EXPECT_LE(kl, last) << name << " " << method;
                last = kl;
            }
            EXPECT_LT(last, 1e-3) << name;  // 8 bits
        }
    }
}

TEST(Methods, at_three_bits_zeros_chosen_by_hqq_lose_less_than_those_of_the_range) {
    for (const char* name : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const auto ids = heldout_ids(files, 256);
        const std::int64_t vocabulary = files.config.vocabulary;
        const auto reference = score_all(*engine_or_die(files, {.context = 256}), ids, vocabulary);
        const auto kl = [&](const std::string& method) {
            const auto engine =
                engine_or_die(files, {.method = method, .threads = 2, .context = 256});
            return mean_kl(reference, score_all(*engine, ids, vocabulary), vocabulary);
        };
        EXPECT_LT(kl("hqq-int3-g64"), kl("int3-g64-asym")) << name;
    }
}

TEST(Methods, llmint8_fused_computes_the_sums_of_llmint8_bnb) {
    for (const char* name : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const auto ids = heldout_ids(files, 64);
        const std::int64_t vocabulary = files.config.vocabulary;
        for (const double threshold : {0.0, 2.0, 6.0}) {
            const auto bnb =
                engine_or_die(files, {.method = "llmint8-bnb", .threshold = threshold});
            const auto fused =
                engine_or_die(files, {.method = "llmint8-fused", .threshold = threshold});
            EXPECT_EQ(max_difference(score_all(*bnb, ids, vocabulary),
                                     score_all(*fused, ids, vocabulary)),
                      0)
                << name << " " << threshold;
            EXPECT_EQ(max_difference(decode_all(*bnb, ids, vocabulary),
                                     decode_all(*fused, ids, vocabulary)),
                      0)
                << name << " " << threshold;
        }
    }
}

TEST(Methods, a_threshold_that_keeps_outliers_apart_loses_less_than_none) {
    const ModelFiles files = random_or_die("llama-nano");  // with planted outlier columns
    const std::vector<std::int32_t> ids{1, 500, 77, 4000, 2, 9, 1234, 8, 700};
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto reference = score_all(*engine_or_die(files, {}), ids, vocabulary);
    const auto kl = [&](double threshold) {
        const auto engine = engine_or_die(files, {.method = "llmint8-bnb", .threshold = threshold});
        return mean_kl(reference, score_all(*engine, ids, vocabulary), vocabulary);
    };
    EXPECT_LT(kl(6.0), 0.4 * kl(0.0));
    EXPECT_EQ(kl(1e6), kl(0.0));
}

TEST(Methods, the_paper_s_outliers_lose_no_more_than_those_of_dequantised_weights) {
    const ModelFiles files = random_or_die("llama-nano");  // with planted outlier columns
    const std::vector<std::int32_t> ids{1, 500, 77, 4000, 2, 9, 1234, 8, 700};
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto reference = score_all(*engine_or_die(files, {}), ids, vocabulary);
    const auto kl = [&](const std::string& method) {
        const auto engine = engine_or_die(files, {.method = method, .threshold = 6});
        return mean_kl(reference, score_all(*engine, ids, vocabulary), vocabulary);
    };
    EXPECT_LT(kl("llmint8-paper"), kl("llmint8-bnb"));
}

// Table 1 of LLM.int8(), on models a thousand times smaller.
TEST(Methods, scales_for_vectors_lose_less_than_one_for_a_tensor_with_and_without_outliers) {
    for (const char* name : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const auto ids = heldout_ids(files, 256);
        const std::int64_t vocabulary = files.config.vocabulary;
        const auto reference =
            score_all(*engine_or_die(files, {.threads = 2, .context = 256}), ids, vocabulary);
        for (const double threshold : {0.0, 3.0}) {
            std::map<std::string, double> kl;
            for (const std::string method :
                 {"int8-absmax-tensor", "int8-zeropoint", "int8-rowwise", "int8-vectorwise",
                  "int8-zeropoint-vectorwise", "llmint8-bnb"}) {
                const auto engine = engine_or_die(
                    files,
                    {.method = method, .threshold = threshold, .threads = 2, .context = 256});
                kl[method] = mean_kl(reference, score_all(*engine, ids, vocabulary), vocabulary);
                std::printf("%s %s T=%g: mean KL divergence %.2e\n", name, method.c_str(),
                            threshold, kl[method]);
            }
            EXPECT_LT(kl["int8-rowwise"], kl["int8-absmax-tensor"]) << name << " " << threshold;
            EXPECT_LT(kl["int8-vectorwise"], kl["int8-absmax-tensor"]) << name << " " << threshold;
            EXPECT_LT(kl["int8-zeropoint-vectorwise"], kl["int8-zeropoint"])
                << name << " " << threshold;
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
