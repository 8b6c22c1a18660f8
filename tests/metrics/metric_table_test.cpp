#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "worker/metrics/metric.h"
#include "worker/metrics/outliers.h"
#include "worker/metrics/text.h"

namespace bitsweep {
namespace {

using Values = std::map<std::string, double>;

Values values_of(const MetricInput& input) {
    Values values;
    for (const Measurement& one : measure(input)) {
        EXPECT_TRUE(values.emplace(one.metric, one.value).second) << one.metric << " twice";
        EXPECT_FALSE(one.unit.empty()) << one.metric;
    }
    return values;
}

// Two sequences of two sequences side by side: 4 steps each, 1 ms and 2 ms a step.
Trace two_sequences() {
    Trace trace;
    for (const std::int64_t ms : {1, 2}) {
        SequenceTrace sequence;
        sequence.prompt_tokens = 8;
        sequence.batch = 2;
        sequence.prefill_ns = ms * 4'000'000;
        sequence.token_ns.assign(4, ms * 1'000'000);
        trace.sequences.push_back(sequence);
    }
    trace.warmup.resize(1);
    trace.load = {.open_ns = 1, .read_ns = 2, .pack_ns = 3, .total_ns = 7};
    return trace;
}

TEST(MetricTable, CountsWhatTheHostDoesPerDecodeStep) {
    Trace trace = two_sequences();
    Values values = values_of({.trace = trace});  // a CPU queues nothing and waits for nobody
    EXPECT_EQ(0, values.at("launches_per_token"));
    EXPECT_EQ(0, values.at("syncs_per_token"));
    EXPECT_EQ(0u, values.count("host_gap_per_token"));
    for (SequenceTrace& sequence : trace.sequences) {
        sequence.host_work = HostWork{.launches = 12, .graph_nodes = 400, .syncs = 1};
        sequence.decode_ns = decode_time_ns(sequence) + 2'000;
    }
    values = values_of({.trace = trace});
    EXPECT_DOUBLE_EQ(3, values.at("launches_per_token"));
    EXPECT_DOUBLE_EQ(100, values.at("graph_nodes_per_token"));
    EXPECT_DOUBLE_EQ(0.25, values.at("syncs_per_token"));
    EXPECT_DOUBLE_EQ(500, values.at("host_gap_per_token"));
    trace.sequences.back().host_work.reset();
    values = values_of({.trace = trace});
    EXPECT_EQ(0u, values.count("launches_per_token")) << "one sequence was not counted";
}

TEST(MetricTable, ComputesRatesAndLatenciesOfAHandMadeTrace) {
    const Trace trace = two_sequences();
    const Values values = values_of({.trace = trace});
    EXPECT_DOUBLE_EQ(1500, values.at("decode_tokens_per_s"));   // median of 2000 and 1000
    EXPECT_DOUBLE_EQ(3000, values.at("prefill_tokens_per_s"));  // median of 4000 and 2000
    EXPECT_DOUBLE_EQ(6e6, values.at("first_token_ns"));
    EXPECT_DOUBLE_EQ(1.5e6, values.at("token_latency_p50"));
    EXPECT_DOUBLE_EQ(2e6, values.at("token_latency_p99"));
    EXPECT_DOUBLE_EQ(1e6, values.at("token_latency_min"));
    EXPECT_DOUBLE_EQ(1.5e6, values.at("token_latency_mean"));
    EXPECT_DOUBLE_EQ(0.5e6, values.at("token_latency_mad"));
    EXPECT_DOUBLE_EQ(2, values.at("sequences"));
    EXPECT_DOUBLE_EQ(1, values.at("warmup_sequences"));
    EXPECT_DOUBLE_EQ(8, values.at("decode_steps"));
    EXPECT_DOUBLE_EQ(7, values.at("load_ns"));
    EXPECT_DOUBLE_EQ(3, values.at("pack_ns"));
}

TEST(MetricTable, LeavesOutWhatWasNotMeasured) {
    const Trace trace = two_sequences();
    const Values values = values_of({.trace = trace});
    for (const char* absent :
         {"perplexity", "kl_mean", "top1_agreement", "bits_per_byte", "text_identical",
          "text_first_divergence", "weights_bytes", "weights_ratio", "peak_rss_bytes",
          "bytes_per_token", "read_bandwidth", "read_bandwidth_share", "outlier_columns"}) {
        EXPECT_FALSE(values.contains(absent)) << absent;
    }
}

TEST(MetricTable, OfARunWithoutDecodeStepsHasNoDecodeRateButAPrefillRate) {
    Trace trace;
    trace.sequences.push_back({.prompt_tokens = 10, .prefill_ns = 1'000'000'000});
    const Values values = values_of({.trace = trace});
    EXPECT_FALSE(values.contains("decode_tokens_per_s"));
    EXPECT_FALSE(values.contains("token_latency_p50"));
    EXPECT_FALSE(values.contains("prefill_half_width"));  // one sequence has no interval
    EXPECT_DOUBLE_EQ(10, values.at("prefill_tokens_per_s"));
}

TEST(MetricTable, AddsUpTheLedgerAndComparesItWithFp16) {
    const Trace trace;
    const MemoryBytes ledger = {.weight_codes = 100,
                                .weight_scales = 20,
                                .embeddings = 30,
                                .other_weights = 50,
                                .kv_cache = 7,
                                .activations = 5,
                                .workspace = 3};
    const Values values = values_of({.trace = trace, .ledger = ledger, .baseline_weights = 400});
    EXPECT_DOUBLE_EQ(200, values.at("weights_bytes"));
    EXPECT_DOUBLE_EQ(0.5, values.at("weights_ratio"));
    EXPECT_DOUBLE_EQ(215, values.at("allocated_bytes"));
    EXPECT_DOUBLE_EQ(100, values.at("weights_codes_bytes"));
    EXPECT_DOUBLE_EQ(7, values.at("kv_cache_bytes"));
}

TEST(MetricTable, SharesTheBandwidthOnlyWhereWeightsComeFromMemory) {
    Trace trace;
    trace.sequences.push_back({.token_ns = {10'000'000}});  // 100 steps/s
    MetricInput input{.trace = trace, .bytes_per_token = 100'000'000, .read_bandwidth = 2e10};
    EXPECT_DOUBLE_EQ(0.5, values_of(input).at("read_bandwidth_share"));
    input.bytes_per_token = 1'000'000;  // a cache holds it
    EXPECT_FALSE(values_of(input).contains("read_bandwidth_share"));
    EXPECT_DOUBLE_EQ(1e6, values_of(input).at("bytes_per_token"));
}

TEST(MetricTable, SummarisesScoredTokens) {
    const Trace trace;
    QualityScores scores;
    scores.nll = {1, 2, 3};
    scores.nll_fp32 = {1, 1, 1};
    scores.kl = {0.1, 0.2, 0.9};
    scores.dp = {0.3, -0.4, 0};
    scores.same_top = 2;
    scores.text_bytes = 12;
    const Values values = values_of({.trace = trace, .quality = &scores});
    EXPECT_DOUBLE_EQ(std::exp(2.0), values.at("perplexity"));
    EXPECT_DOUBLE_EQ(std::exp(1.0), values.at("perplexity_fp32"));
    EXPECT_DOUBLE_EQ(6 / std::log(2.0) / 12, values.at("bits_per_byte"));
    EXPECT_NEAR(0.4, values.at("kl_mean"), 1e-12);
    EXPECT_DOUBLE_EQ(0.2, values.at("kl_median"));
    EXPECT_NEAR(0.886, values.at("kl_p99"), 1e-12);
    EXPECT_DOUBLE_EQ(0.9, values.at("kl_max"));
    EXPECT_DOUBLE_EQ(2.0 / 3, values.at("top1_agreement"));
    EXPECT_DOUBLE_EQ(std::sqrt(0.25 / 3), values.at("dp_rms"));
    EXPECT_DOUBLE_EQ(3, values.at("quality_tokens"));
    scores.text_bytes = 0;
    EXPECT_FALSE(values_of({.trace = trace, .quality = &scores}).contains("bits_per_byte"));
}

TEST(MetricTable, NeverReportsANumberThatIsNotFinite) {
    const Trace trace;
    QualityScores scores;
    scores.nll = {1e6};  // exp overflows
    scores.nll_fp32 = {1};
    scores.kl = {1};
    scores.dp = {0};
    const Values values = values_of({.trace = trace, .quality = &scores});
    EXPECT_FALSE(values.contains("perplexity"));
    EXPECT_TRUE(values.contains("perplexity_fp32"));
}

TEST(MetricTable, HasOneRowForEachIdAndKind) {
    std::set<std::string> seen;
    for (const MetricRow& row : metric_table()) {
        const bool whole = row.whole != nullptr;
        EXPECT_NE(whole, row.parts != nullptr) << row.id;
        EXPECT_TRUE(seen.insert(std::string(row.id) + (whole ? "" : ":")).second) << row.id;
        EXPECT_FALSE(row.meaning.empty()) << row.id;
    }
}

TEST(Text, DivergesAtTheFirstDifferentTokenOrWhereOneEnds) {
    const std::vector<std::int32_t> fp32 = {5, 6, 7};
    EXPECT_FALSE(compare_text(fp32, std::vector<std::int32_t>{5, 6, 7}).first_divergence);
    EXPECT_EQ(1, *compare_text(fp32, std::vector<std::int32_t>{5, 9, 7}).first_divergence);
    EXPECT_EQ(2, *compare_text(fp32, std::vector<std::int32_t>{5, 6}).first_divergence);
    EXPECT_EQ(3, *compare_text(fp32, std::vector<std::int32_t>{5, 6, 7, 8}).first_divergence);
    EXPECT_EQ(0, *compare_text(fp32, {}).first_divergence);
}

TEST(Text, IdenticalHasNoIndexOfDivergence) {
    const Trace trace;
    const Values same = values_of({.trace = trace, .text = TextComparison{}});
    EXPECT_DOUBLE_EQ(1, same.at("text_identical"));
    EXPECT_FALSE(same.contains("text_first_divergence"));
    const Values other = values_of({.trace = trace, .text = TextComparison{0}});
    EXPECT_DOUBLE_EQ(0, other.at("text_identical"));
    EXPECT_DOUBLE_EQ(0, other.at("text_first_divergence"));
}

TEST(Outliers, OfTwoWindowsAreTheUnionOfColumnsAndTheWeightedMean) {
    Trace trace;
    merge_outliers(trace.outliers,
                   {{.layer = "a",
                     .in_features = 4,
                     .columns = 2,
                     .columns_per_token = 1,
                     .max_abs = 7,
                     .tokens = 10,
                     .seen = {1, 1, 0, 0}},
                    {.layer = "b", .in_features = 2, .tokens = 10, .seen = {0, 0}}});
    merge_outliers(
        trace.outliers,
        {{.layer = "a",
          .in_features = 4,
          .columns = 2,
          .columns_per_token = 4,
          .max_abs = 6,
          .tokens = 30,
          .seen = {0, 1, 1, 0}},
         {.layer = "b", .in_features = 2, .tokens = 30, .seen = {0, 0}},
         {.layer = "lm_head", .in_features = 2, .columns = 2, .tokens = 30, .seen = {1, 1}}});
    const Values values = values_of({.trace = trace});
    EXPECT_DOUBLE_EQ(3, values.at("outlier_columns:a"));
    EXPECT_DOUBLE_EQ(3.25, values.at("outlier_columns_per_token:a"));
    EXPECT_DOUBLE_EQ(7, values.at("outlier_max_abs:a"));
    EXPECT_DOUBLE_EQ(0, values.at("outlier_columns:b"));
    EXPECT_DOUBLE_EQ(2, values.at("outlier_columns:lm_head"));
    EXPECT_DOUBLE_EQ(3, values.at("outlier_columns"));
    EXPECT_DOUBLE_EQ(1, values.at("outlier_layers"));
}

TEST(RawSamples, KeepEveryStepInOrderAndBoundTheScoredTokens) {
    const Trace trace = two_sequences();
    QualityScores scores;
    scores.nll.assign(static_cast<std::size_t>(most_raw_quality_tokens), 1);
    scores.kl = scores.nll;
    std::map<std::string, std::size_t> sizes;
    for (const SampleSeries& series : raw_samples({.trace = trace, .quality = &scores})) {
        sizes[series.metric] = series.values.size();
    }
    EXPECT_EQ(8U, sizes["token_latency"]);
    EXPECT_EQ(2U, sizes["decode_rate"]);
    EXPECT_EQ(2U, sizes["prefill_rate"]);
    EXPECT_EQ(static_cast<std::size_t>(most_raw_quality_tokens), sizes["nll"]);
    scores.nll.push_back(1);
    for (const SampleSeries& series : raw_samples({.trace = trace, .quality = &scores})) {
        EXPECT_NE("nll", series.metric);
        EXPECT_NE("kl", series.metric);
    }
}

}  // namespace
}  // namespace bitsweep
