// `bitsweep-runner job` as the worker sees it: lines in, results out, nothing on standard output.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/runner/support.h"

namespace bitsweep::test {
namespace {

std::int64_t count_of(const std::vector<std::string>& words, const std::string& word) {
    return std::count(words.begin(), words.end(), word);
}

TEST(Job, AnswersOneLineWithOneResultThatHoldsEveryNumber) {
    const Served served = serve(std::vector{job_of("llama-nano", "int8")});
    EXPECT_EQ(0, served.process.exit_code) << served.process.err;
    EXPECT_EQ("", served.process.out);
    ASSERT_EQ(1U, served.results.size());
    const RunResult& result = served.results[0];
    EXPECT_EQ(OutcomeClass::done, result.outcome.outcome) << result.outcome.message;
    EXPECT_EQ("", result.outcome.message);
    const auto values = values_of(result);
    for (const char* metric : {"decode_tokens_per_s",
                               "prefill_tokens_per_s",
                               "token_latency_p50",
                               "token_latency_p90",
                               "token_latency_p99",
                               "load_ns",
                               "pack_ns",
                               "weights_bytes",
                               "weights_ratio",
                               "kv_cache_bytes",
                               "activations_bytes",
                               "peak_rss_bytes",
                               "bytes_per_token",
                               "perplexity",
                               "perplexity_fp32",
                               "bits_per_byte",
                               "kl_mean",
                               "kl_median",
                               "kl_p99",
                               "kl_max",
                               "top1_agreement",
                               "dp_rms",
                               "text_identical"}) {
        EXPECT_TRUE(values.contains(metric)) << metric;
    }
    for (const char* fact : {"engine_version", "git", "host", "kernel", "cpu", "compiler", "flags",
                             "isa", "torch", "threads", "weights_type", "stop_reason"}) {
        EXPECT_TRUE(result.provenance.contains(fact)) << fact;
    }
    EXPECT_EQ(64U, result.weights_digest.size());
    EXPECT_EQ(64U, result.dataset_digest.size());
    EXPECT_LE(result.started_unix_ms, result.finished_unix_ms);
    EXPECT_EQ(510, values.at("quality_tokens"));  // two windows of 256, positions 2..256
}

TEST(Job, KeepsEveryMeasuredTokensLatency) {
    const Served served = serve(std::vector{job_of("llama-pico", "fp16")});
    ASSERT_EQ(1U, served.results.size());
    const auto values = values_of(served.results[0]);
    std::map<std::string, std::size_t> sizes;
    for (const SampleSeries& series : served.results[0].samples) {
        sizes[series.metric] = series.values.size();
    }
    EXPECT_EQ(values.at("sequences") * 15, static_cast<double>(sizes["token_latency"]));
    EXPECT_EQ(values.at("sequences"), static_cast<double>(sizes["decode_rate"]));
    EXPECT_EQ(510U, sizes["kl"]);
    EXPECT_GE(values.at("sequences"), 3);
    EXPECT_LE(values.at("sequences"), 10);
}

TEST(Job, OfTheSameModelSharesTheFp32ReferenceInOneProcess) {
    JobSpec repeat = job_of("llama-nano", "nf4");
    repeat.repeat = 1;
    const Served served =
        serve({job_of("llama-nano", "fp16"), job_of("llama-nano", "int4-g64"), repeat});
    ASSERT_EQ(3U, served.results.size());
    EXPECT_EQ(1, count_of(served.progress, "loading the fp32 reference"));
    const auto fp16 = values_of(served.results[0]);
    const auto int4 = values_of(served.results[1]);
    EXPECT_EQ(fp16.at("perplexity_fp32"), int4.at("perplexity_fp32"));
    EXPECT_LT(fp16.at("kl_mean"), 1e-4);
    EXPECT_GT(int4.at("kl_mean"), fp16.at("kl_mean"));
    EXPECT_FALSE(values_of(served.results[2]).contains("perplexity"));  // once per cell
    EXPECT_EQ("", served.results[2].dataset_digest);
}

TEST(Job, OfAnotherModelInTheSameProcessStartsAfresh) {
    const Served served = serve(
        {job_of("llama-pico", "fp16"), job_of("gpt2-nano", "fp16"), job_of("llama-pico", "fp16")});
    ASSERT_EQ(3U, served.results.size());
    EXPECT_NE(served.results[0].weights_digest, served.results[1].weights_digest);
    EXPECT_EQ(values_of(served.results[0]).at("perplexity"),
              values_of(served.results[2]).at("perplexity"));
}

TEST(Job, ScoresTheSameWhenTheReferenceIsComputedWindowByWindow) {
    const JobSpec spec = job_of("llama-nano", "nf4");
    const Served kept = serve(std::vector{spec});
    const Served lock_step = serve(std::vector{spec}, "--reference-mib 0");
    ASSERT_EQ(1U, kept.results.size());
    ASSERT_EQ(1U, lock_step.results.size());
    EXPECT_EQ(1, count_of(kept.progress, "fp32 window 1"));
    EXPECT_EQ(0, count_of(lock_step.progress, "fp32 window 1"));
    for (const char* metric : {"kl_mean", "kl_max", "perplexity", "top1_agreement", "dp_rms"}) {
        EXPECT_EQ(values_of(kept.results[0]).at(metric), values_of(lock_step.results[0]).at(metric))
            << metric;
    }
}

TEST(Job, OfFp32IsItsOwnReference) {
    const Served served = serve(std::vector{job_of("opt-nano", "fp32")});
    ASSERT_EQ(1U, served.results.size());
    const auto values = values_of(served.results[0]);
    EXPECT_EQ(0, values.at("kl_max"));
    EXPECT_EQ(1, values.at("top1_agreement"));
    EXPECT_EQ(1, values.at("text_identical"));
    EXPECT_EQ(values.at("perplexity_fp32"), values.at("perplexity"));
}

TEST(Job, CountsTheSameWeightBytesAsTheFormulaSaysForFp16) {
    for (const char* model : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        JobSpec spec = job_of(model, "fp16");
        spec.quality.mode = QualityMode::off;
        const Served served = serve(std::vector{spec});
        ASSERT_EQ(1U, served.results.size());
        EXPECT_DOUBLE_EQ(1, values_of(served.results[0]).at("weights_ratio")) << model;
    }
}

TEST(Job, ReportsOutlierColumnsByLayerAtItsThreshold) {
    JobSpec low = job_of("llama-nano", "llmint8-bnb");
    low.threshold = 1.0;
    JobSpec high = low;
    high.threshold = 3.0;
    JobSpec none = low;
    none.threshold = 0.0;
    const Served served = serve({low, high, none});
    ASSERT_EQ(3U, served.results.size());
    const auto at_low = values_of(served.results[0]);
    const auto at_high = values_of(served.results[1]);
    EXPECT_GT(at_low.at("outlier_columns"), at_high.at("outlier_columns"));
    double sum = 0;
    std::int64_t layers = 0;
    for (const auto& [metric, value] : at_low) {
        if (metric.starts_with("outlier_columns:")) {
            sum += metric.ends_with(":lm_head") ? 0 : value;  // it has bits of its own
            ++layers;
        }
    }
    EXPECT_GE(layers, 4 * 4);
    EXPECT_EQ(at_low.at("outlier_columns"), sum);
    EXPECT_FALSE(values_of(served.results[2]).contains("outlier_columns"));
}

TEST(Job, WithQualityOfLayersTellsWhatEachLosesAndTakesAlone) {
    JobSpec spec = job_of("llama-pico", "int4-g64");
    spec.quality = {QualityMode::layers, "heldout-fiction", 512, 256};
    const Served served = serve({spec});
    ASSERT_EQ(1U, served.results.size());
    const auto values = values_of(served.results[0]);
    double losses = 0;
    int layers = 0;
    for (const auto& [metric, value] : values) {
        if (!metric.starts_with("layer_kl:")) {
            continue;
        }
        const std::string layer = metric.substr(9);
        ++layers;
        losses += value;
        EXPECT_GT(value, 0) << layer;
        EXPECT_LT(value, values.at("kl_mean")) << layer;
        EXPECT_GT(values.at("layer_latency:" + layer), 0) << layer;
        EXPECT_GT(values.at("layer_bytes:" + layer), 1000) << layer;
    }
    EXPECT_EQ(layers, 3 * 4) << "the head has bits of its own";
    EXPECT_NEAR(losses, values.at("kl_mean"), 0.3 * values.at("kl_mean"));  // losses about add
}

TEST(Job, WithRandomWeightsMeasuresSpeedAndRefusesQuality) {
    JobSpec spec = job_of("llama-pico", "int8");
    spec.model = {.name = "llama-pico", .weights = WeightsSource::random, .weights_seed = 7};
    JobSpec other_seed = spec;
    other_seed.model.weights_seed = 8;
    const Served served = serve({spec, spec, other_seed});
    ASSERT_EQ(3U, served.results.size());
    const RunResult& result = served.results[0];
    EXPECT_EQ(OutcomeClass::done, result.outcome.outcome) << result.outcome.message;
    const auto values = values_of(result);
    EXPECT_TRUE(values.contains("decode_tokens_per_s"));
    EXPECT_FALSE(values.contains("perplexity"));
    EXPECT_FALSE(values.contains("text_identical"));
    EXPECT_EQ("not measured: random weights have no quality", result.provenance.at("quality"));
    EXPECT_EQ(64U, result.weights_digest.size());
    EXPECT_EQ(result.weights_digest, served.results[1].weights_digest);
    EXPECT_EQ(result.generated.new_ids, served.results[1].generated.new_ids);
    EXPECT_NE(result.weights_digest, served.results[2].weights_digest);
}

TEST(Job, OfTheSeedsProtocolRunsOnceAndComparesTextsOnly) {
    JobSpec spec = job_of("llama-nano", "llmint8-bnb");
    spec.protocol = Protocol::seed_report;
    spec.new_tokens = 10;
    const Served served = serve(std::vector{spec});
    ASSERT_EQ(1U, served.results.size());
    const auto values = values_of(served.results[0]);
    EXPECT_EQ(1, values.at("sequences"));
    EXPECT_EQ(1, values.at("warmup_sequences"));
    EXPECT_EQ(9, values.at("decode_steps"));
    EXPECT_TRUE(values.contains("text_identical"));
    EXPECT_FALSE(values.contains("perplexity"));
    EXPECT_EQ("fixed", served.results[0].provenance.at("stop_reason"));
    EXPECT_EQ(10U, served.results[0].generated.new_ids.size());
}

TEST(Job, TakesItsPromptFromTheTextWherePromptTokensSaysSo) {
    JobSpec spec = job_of("llama-nano", "fp16");
    spec.prompt_tokens = 100;
    spec.quality.mode = QualityMode::off;
    const Served served = serve(std::vector{spec});
    ASSERT_EQ(1U, served.results.size());
    const RunResult& result = served.results[0];
    ASSERT_EQ(100U, result.generated.prompt_ids.size()) << result.outcome.message;
    const std::vector<std::int32_t> first = {797, 283, 1383, 84};  // reference.json, first_16
    EXPECT_TRUE(std::equal(first.begin(), first.end(), result.generated.prompt_ids.begin()));
    EXPECT_EQ(64U, result.dataset_digest.size());
}

TEST(Job, OfABatchGeneratesTheSameTextAsOneSequence) {
    JobSpec one = job_of("llama-nano", "fp32");
    one.quality.mode = QualityMode::off;
    JobSpec three = one;
    three.batch = 3;
    const Served served = serve({one, three});
    ASSERT_EQ(2U, served.results.size());
    EXPECT_EQ(served.results[0].generated.new_ids, served.results[1].generated.new_ids);
    EXPECT_EQ(3 * values_of(served.results[0]).at("kv_cache_bytes"),
              values_of(served.results[1]).at("kv_cache_bytes"));
}

TEST(Job, AnswersTheRightKeysInTheOrderOfTheLines) {
    std::vector<Dispatch> jobs = {dispatch_of(job_of("llama-pico", "fp16"), 5),
                                  dispatch_of(job_of("llama-pico", "nf4"), 6)};
    jobs[1].attempt = {4};
    const Served served = serve(jobs);
    ASSERT_EQ(2U, served.results.size());
    EXPECT_EQ(jobs[0].key, served.results[0].key);
    EXPECT_EQ(jobs[1].key, served.results[1].key);
    EXPECT_EQ(4U, served.results[1].attempt.value);
}

}  // namespace
}  // namespace bitsweep::test
