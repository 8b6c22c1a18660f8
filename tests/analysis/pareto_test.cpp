// Fronts and explanations of databases whose truth is known.
#include "results/analysis/pareto.h"

#include <cmath>

#include "results/analysis/latency.h"
#include "tests/analysis/synthetic.h"

namespace bitsweep::testing {
namespace {

Evidence evidence_of(const SyntheticPlan& plan) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    fill(*store, plan);
    Result<Evidence> evidence = read_evidence(*store, {});
    EXPECT_TRUE(evidence.ok()) << evidence.error().message;
    return std::move(evidence).value();
}

SyntheticCell cell(const std::string& method, double rate, double kl, double mib) {
    return {"gpt2",
            method,
            {},
            rate,
            {{"kl_mean", "nat", 0, kl}, {"allocated_bytes", "B", 0, mib * 1048576}}};
}

const ParetoPoint& point(const ParetoFront& front, const std::string& method) {
    for (const ParetoPoint& one : front.points) {
        if (one.method == method) {
            return one;
        }
    }
    ADD_FAILURE() << method << " is on no front";
    return front.points.front();
}

TEST(Pareto, saysWhatIsDominatedByWhatAndWhatIsOpen) {
    SyntheticPlan plan;
    plan.between = 0.002;
    plan.cells = {cell("fp16", 100, 0, 250), cell("int8", 150, 0.001, 160),
                  cell("w8a8", 140, 0.002, 170),   // worse than int8 in all three
                  cell("nf4", 200, 0.05, 110),     // fastest
                  cell("fp4", 200.1, 0.06, 110)};  // as fast as nf4 within the noise, worse loss
    const auto fronts = find_fronts(evidence_of(plan), {}, {});
    ASSERT_EQ(fronts.size(), 1u);
    EXPECT_EQ(point(fronts[0], "fp16").on_front, 1);
    EXPECT_EQ(point(fronts[0], "int8").on_front, 1);
    EXPECT_EQ(point(fronts[0], "w8a8").on_front, 0);
    EXPECT_EQ(point(fronts[0], "w8a8").dominated_by, "int8");
    EXPECT_EQ(point(fronts[0], "nf4").on_front, 1);
    EXPECT_GT(point(fronts[0], "fp4").on_front, 0.02);
    EXPECT_LT(point(fronts[0], "fp4").on_front, 0.98);
}

TEST(Pareto, namesTheFastestUnderALossThatFits) {
    SyntheticPlan plan;
    plan.cells = {cell("fp16", 100, 0, 250), cell("int8", 150, 0.001, 160),
                  cell("nf4", 200, 0.05, 110)};
    const Evidence evidence = evidence_of(plan);
    const struct {
        ParetoQuestion question;
        const char* words;
    } cases[] = {
        {{}, "the fastest of all is nf4"},
        {{.most_loss = 0.01}, "the fastest of at most 0.01 nat KL is int8"},
        {{.most_loss = 0.01, .most_bytes = 150e6},
         "nothing that was measured has a loss of at most 0.01 nat KL and fits in 143.1 MiB."},
        {{.most_bytes = 200 * 1048576.0}, "the fastest in 200.0 MiB is nf4"},
    };
    for (const auto& c : cases) {
        const Finding finding = pareto_finding(find_fronts(evidence, c.question, {}), c.question);
        EXPECT_NE(finding.sentences.at(0).find(c.words), std::string::npos)
            << finding.sentences.at(0);
    }
}

TEST(Pareto, modelsOfDifferentTokenizersMeetInBitsPerByte) {
    SyntheticPlan plan;
    plan.cells = {{"gpt2", "fp16", {}, 100, {{"bits_per_byte", "bit/B", 0, 1.2}}},
                  {"opt-125m", "fp16", {}, 90, {{"bits_per_byte", "bit/B", 0, 1.3}}}};
    const auto fronts = find_fronts(evidence_of(plan), {.loss = Loss::bits_per_byte}, {});
    ASSERT_EQ(fronts.size(), 1u);
    ASSERT_EQ(fronts[0].points.size(), 2u);
    EXPECT_EQ(fronts[0].points[1].on_front, 0);
    EXPECT_EQ(fronts[0].points[1].dominated_by, "gpt2 fp16");
}

TEST(Pareto, lessEnergyKeepsASlowerPointOnTheFront) {
    SyntheticPlan plan;
    plan.cells = {cell("int8", 150, 0.001, 160), cell("w8a8", 140, 0.001, 160)};
    plan.cells[0].more.push_back({"energy_per_token", "mJ/token", 0, 900});
    plan.cells[1].more.push_back({"energy_per_token", "mJ/token", 0, 700});
    const auto fronts = find_fronts(evidence_of(plan), {}, {});
    EXPECT_EQ(point(fronts[0], "w8a8").on_front, 1);
}

TEST(Pareto, whatHasNoQualityIsOnNoFrontAndDominatesNothing) {
    SyntheticPlan plan;
    plan.cells = {cell("fp16", 100, 0, 250), {"gpt2", "int8", {}, 150, {}}};
    const auto fronts = find_fronts(evidence_of(plan), {}, {});
    EXPECT_TRUE(std::isnan(point(fronts[0], "int8").on_front));
    EXPECT_EQ(point(fronts[0], "fp16").on_front, 1);
}

// Steps of 1 ms (fp16) with stored counters of a card; llmint8 adds an outlier path of 0.3 ms.
SyntheticPlan card_with_counters() {
    SyntheticPlan plan;
    plan.devices = {{"H100", "NVIDIA H100"}};
    plan.between = 0.001;
    plan.within = 0.001;
    const auto counters = [](double bytes, double launches, double syncs) {
        return std::vector<Measurement>{
            {"bytes_per_token", "B", 0, bytes},       {"read_bandwidth", "B/s", 0, 3e12},
            {"launches_per_token", "1", 0, launches}, {"graph_node_latency", "ns", 0, 1000},
            {"syncs_per_token", "1", 0, syncs},       {"launch_round_trip", "ns", 0, 10'000},
            {"host_gap_per_token", "ns", 0, 50'000},  {"token_latency_mean", "ns", 0, 1'010'000},
            {"token_latency_p50", "ns", 0, 1'000'000}};
    };
    plan.cells = {{"gpt2-xl", "fp16", {}, 1000, counters(1.5e9, 100, 0)},
                  {"gpt2-xl", "llmint8-bnb", 0, 1e9 / 1.1e6, counters(0.75e9, 200, 1)},
                  {"gpt2-xl", "llmint8-bnb", 6, 1e9 / 1.4e6, counters(0.75e9, 300, 10)}};
    return plan;
}

TEST(Latency, splitsAStepIntoItsStoredParts) {
    const LatencyAnswer answer = split_latency(evidence_of(card_with_counters()), {}, {});
    ASSERT_EQ(answer.splits.size(), 3u);
    const LatencySplit& base = answer.splits[0];
    EXPECT_TRUE(base.is_baseline);
    EXPECT_NEAR(base.ns[part_bytes], 500'000, 1);
    EXPECT_NEAR(base.ns[part_launches], 100'000, 1);
    EXPECT_NEAR(base.ns[part_host], 50'000, 1);
    EXPECT_NEAR(base.ns[part_tail], 10'000, 1);
    EXPECT_EQ(base.ns[part_synchronise], 0);
    EXPECT_EQ(base.ns[part_outliers], 0);
    const LatencySplit& slow = answer.splits[2];
    EXPECT_EQ(slow.method, "llmint8-bnb T=6");
    EXPECT_NEAR(slow.ns[part_outliers], 300'000, 5'000);
    EXPECT_NEAR(slow.ns[part_synchronise], 100'000, 1);
    for (const LatencySplit& split : answer.splits) {
        double sum = 0;
        for (const double ns : split.ns) {
            sum += std::isnan(ns) ? 0 : ns;
        }
        EXPECT_NEAR(sum / split.step_ns.centre, 1, 1e-9) << split.method;
    }
    EXPECT_TRUE(answer.missing.empty()) << answer.missing.front();
}

TEST(Latency, saysInWordsWhyAMethodIsSlower) {
    const LatencyAnswer answer = split_latency(evidence_of(card_with_counters()), {}, {});
    const std::string words = explain(answer.splits[2], answer.splits[0]);
    EXPECT_NE(words.find("1.40x fp16's"), std::string::npos) << words;
    EXPECT_NE(words.find("outlier path costs 30"), std::string::npos) << words;
    EXPECT_NE(words.find("fewer bytes save 250 us"), std::string::npos) << words;
    EXPECT_NE(words.find("launches cost 200 us"), std::string::npos) << words;
    const Finding all = latency_finding(answer, "");
    EXPECT_EQ(all.sentences.size(), 2u);  // both thresholds are slower than fp16
    EXPECT_EQ(latency_finding(answer, "llmint8-bnb T=0").sentences.size(), 1u);
}

TEST(Latency, namesWhatIsNotStoredInsteadOfGuessing) {
    SyntheticPlan plan = card_with_counters();
    for (SyntheticCell& one : plan.cells) {
        std::erase_if(one.more, [](const Measurement& m) {
            return m.metric == "launches_per_token" || m.metric == "host_gap_per_token" ||
                   m.metric == "token_latency_mean";
        });
    }
    const LatencyAnswer answer = split_latency(evidence_of(plan), {}, {});
    EXPECT_TRUE(std::isnan(answer.splits[0].ns[part_launches]));
    ASSERT_EQ(answer.missing.size(), 3u);
    EXPECT_NE(answer.missing[0].find("`host` needs host_gap_per_token"), std::string::npos);
    EXPECT_NE(answer.missing[2].find("`tail` needs token_latency_mean"), std::string::npos);
    EXPECT_NE(answer.missing[1].find("`launches` needs launches_per_token"), std::string::npos);
}

TEST(Latency, aModelThatACacheServesIsNotBlamedOnMemory) {
    SyntheticPlan plan = card_with_counters();
    for (SyntheticCell& one : plan.cells) {
        one.more[0].value = 6e9;  // 2 ms at 3 TB/s, in a step of 1 ms
    }
    const LatencyAnswer answer = split_latency(evidence_of(plan), {}, {});
    EXPECT_TRUE(answer.splits[0].from_cache);
    EXPECT_TRUE(std::isnan(answer.splits[0].ns[part_bytes]));
    EXPECT_TRUE(answer.missing.empty()) << answer.missing.front();
}

}  // namespace
}  // namespace bitsweep::testing
