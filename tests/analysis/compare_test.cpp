// Verdicts on synthetic experiments whose truth is known.
#include "results/analysis/compare.h"

#include <cmath>

#include "results/analysis/comparisons.h"
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

// A cell without a database, for many trials.
MeasuredCell cell_of(Gauss& gauss, const std::string& method, double rate, int processes,
                     int sequences, double between) {
    MeasuredCell cell;
    cell.model = "m";
    cell.method = cell.method_name = method;
    cell.device = "card";
    for (int repeat = 0; repeat < processes; ++repeat) {
        cell.repeats.push_back(
            {repeat, repeat, "", gauss.samples(rate, between, 0.005, sequences)});
    }
    return cell;
}

// How often `verdict` came out of 100 comparisons, each of its own, with the standard protocol's 3
// processes of 10 sequences.
int count(SpeedVerdict verdict, double ratio, double between, std::uint64_t seed) {
    Gauss gauss(seed);
    int found = 0;
    for (int i = 0; i < 100; ++i) {
        Evidence evidence;
        evidence.cells = {cell_of(gauss, "a", 100 * ratio, 3, 10, between),
                          cell_of(gauss, "b", 100, 3, 10, between)};
        const auto rows = compare(evidence, {"a", "b"});
        EXPECT_TRUE(rows.ok());
        found += rows.ok() && rows->front().verdict == verdict ? 1 : 0;
    }
    return found;
}

TEST(Compare, equalConfigurationsAreTheSameIn95Of100) {
    EXPECT_GE(count(SpeedVerdict::same, 1, 0.002, 1), 95);
    EXPECT_GE(count(SpeedVerdict::same, 1, 0.01, 2), 95);
}

TEST(Compare, aSlowdownOfTwoPercentIsFoundIn90Of100) {
    // Processes of one machine differ by 0.2 % (facts: run-to-run CV at most 0.5 % on one worker).
    EXPECT_GE(count(SpeedVerdict::slower, 0.98, 0.002, 3), 90);
    EXPECT_GE(count(SpeedVerdict::faster, 1.02, 0.002, 4), 90);
}

// The same promise through the database: 100 experiments of 3 processes each way.
int count_stored(SpeedVerdict verdict, double ratio) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    for (int i = 0; i < 100; ++i) {
        SyntheticPlan plan;
        plan.experiment = "pair-" + std::to_string(i);
        const std::string model = "model-" + std::to_string(i);
        plan.cells = {{model, "fp16", {}, 100}, {model, "int8", {}, 100 * ratio}};
        plan.between = 0.002;
        plan.seed = static_cast<std::uint64_t>(1000 + i);
        fill(*store, plan);
    }
    int found = 0;
    for (int i = 0; i < 100; ++i) {
        const Result<Evidence> evidence =
            read_evidence(*store, {"pair-" + std::to_string(i), "", ""});
        EXPECT_TRUE(evidence.ok());
        const auto rows = compare(*evidence, {"int8", "fp16"});
        EXPECT_TRUE(rows.ok());
        found += rows.ok() && rows->size() == 1 && rows->front().verdict == verdict ? 1 : 0;
    }
    return found;
}

TEST(Compare, saysSameOnlyWhereALargeDifferenceDoesNotFit) {
    const auto words = [](double between) {
        TempFolder folder;
        const auto store = open_store(folder / "a.db");
        SyntheticPlan plan;
        plan.cells = {{"tiny", "fp16", {}, 100}, {"tiny", "int8", {}, 100}};
        plan.between = between;
        fill(*store, plan);
        const CompareQuestion question{"int8", "fp16"};
        const auto rows = compare(read_evidence(*store, {}).value(), question);
        EXPECT_EQ(rows->front().verdict, SpeedVerdict::same);
        return compare_finding(*rows, question).sentences.front();
    };
    EXPECT_NE(words(0.001).find("int8 is SAME as fp16: "), std::string::npos) << words(0.001);
    EXPECT_NE(words(0.3).find("int8 is not told apart from fp16 (SAME)"), std::string::npos)
        << words(0.3);
}

TEST(Compare, keepsItsPromisesThroughTheDatabase) {
    EXPECT_GE(count_stored(SpeedVerdict::same, 1), 95);
    EXPECT_GE(count_stored(SpeedVerdict::slower, 0.98), 90);
}

TEST(Compare, anyFalseAlarmAmongTwentyModelsIsRare) {
    int alarms = 0;
    for (int trial = 0; trial < 100; ++trial) {
        Gauss gauss(static_cast<std::uint64_t>(100 + trial));
        Evidence evidence;
        for (int model = 0; model < 20; ++model) {
            for (const char* method : {"a", "b"}) {
                evidence.cells.push_back(cell_of(gauss, method, 100, 3, 10, 0.01));
                evidence.cells.back().model = std::to_string(model);
                evidence.cells.back().place = std::to_string(model);
            }
        }
        const auto rows = compare(evidence, {"a", "b"});
        ASSERT_TRUE(rows.ok());
        bool alarm = false;
        for (const Comparison& row : *rows) {
            alarm = alarm || row.verdict != SpeedVerdict::same;
        }
        alarms += alarm ? 1 : 0;
    }
    EXPECT_LE(alarms, 11);  // 5 promised, three deviations allowed
}

TEST(Compare, theIntervalOfAVerdictAgreesWithIt) {
    Gauss gauss(9);
    for (int i = 0; i < 200; ++i) {
        Evidence evidence;
        const double ratio = 1 + 0.0005 * i;
        evidence.cells = {cell_of(gauss, "a", 100 * ratio, 3, 10, 0.003),
                          cell_of(gauss, "b", 100, 3, 10, 0.003)};
        const auto rows = compare(evidence, {.a = "a", .b = "b", .margin = 0});
        ASSERT_TRUE(rows.ok());
        const Comparison& row = rows->front();
        EXPECT_EQ(row.verdict == SpeedVerdict::same, row.low <= 1 && row.high >= 1);
    }
}

TEST(Compare, readsPairsAndDevicesFromADatabase) {
    SyntheticPlan plan;
    plan.devices = {{"cpu", "slow"}, {"card", "fast", 10}};
    plan.cells = {{"gpt2", "fp16", {}, 100}, {"gpt2", "llmint8-bnb", 6, 50}};
    const Evidence evidence = evidence_of(plan);
    const auto methods = compare(evidence, {"llmint8-bnb", "fp16"});
    ASSERT_TRUE(methods.ok()) << methods.error().message;
    ASSERT_EQ(methods->size(), 2u);
    for (const Comparison& row : *methods) {
        EXPECT_EQ(row.verdict, SpeedVerdict::slower);
        EXPECT_EQ(row.pairs, 3);
        EXPECT_NEAR(row.speedup, 0.5, 0.01);
        EXPECT_NEAR(row.low, 0.5, 0.05);
        EXPECT_LT(row.high, 0.55);
    }
    const auto devices = compare(evidence, {"card", "cpu"});
    ASSERT_TRUE(devices.ok()) << devices.error().message;
    ASSERT_EQ(devices->size(), 2u);
    EXPECT_EQ(devices->front().verdict, SpeedVerdict::faster);
    EXPECT_EQ(devices->front().device, "card / cpu");
    EXPECT_NEAR(devices->front().speedup, 10, 0.2);
}

TEST(Compare, onePairIsNoVerdict) {
    SyntheticPlan plan;
    plan.repeats = 1;
    plan.cells = {{"gpt2", "fp16", {}, 100}, {"gpt2", "int8", {}, 50}};
    const CompareQuestion question{"int8", "fp16"};
    const auto rows = compare(evidence_of(plan), question);
    ASSERT_TRUE(rows.ok());
    EXPECT_EQ(rows->front().verdict, SpeedVerdict::unresolved);
    EXPECT_NE(compare_finding(*rows, question).sentences[0].find("repeat: 3"), std::string::npos);
}

TEST(Compare, mistakesNameWhatWasMeasured) {
    SyntheticPlan plan;
    plan.cells = {{"gpt2", "fp16", {}, 100},
                  {"gpt2", "llmint8-bnb", 6, 50},
                  {"gpt2", "llmint8-bnb", 3, 50},
                  {"opt-125m", "nf4", {}, 80}};
    const Evidence evidence = evidence_of(plan);
    const struct {
        CompareQuestion question;
        const char* words;
    } cases[] = {{{"fp6", "fp16"}, "nearest is `fp16`"},
                 {{"llmint8-bnb", "fp16"}, "`llmint8-bnb T=6`"},
                 {{"fp16", "fp16"}, "with itself"},
                 {{"nf4", "fp16"}, "no model was measured with both"}};
    for (const auto& c : cases) {
        const auto rows = compare(evidence, c.question);
        ASSERT_FALSE(rows.ok()) << c.words;
        EXPECT_NE(rows.error().message.find(c.words), std::string::npos) << rows.error().message;
    }
    EXPECT_FALSE(compare({}, {"a", "b"}).ok());
}

TEST(Evidence, leavesOutThrottledDriftingAndForeignRunsAndSaysSo) {
    SyntheticPlan plan;
    plan.repeats = 5;
    plan.cells = {{"gpt2", "fp16", {}, 100}};
    plan.damage = [](FinishedRun& run, const SyntheticCell&, int repeat) {
        auto& metrics = run.result.measurements;
        if (repeat == 1) {
            metrics.push_back({"window_throttled", "1", 0, 1});
        } else if (repeat == 2) {
            metrics.push_back({"foreign_processes", "1", 0, 1});
        } else if (repeat == 3) {
            metrics.push_back({"window_clock_drift", "1", 0, 1});
        } else if (repeat == 4) {
            for (std::size_t i = 0; i < run.result.samples[0].values.size(); ++i) {
                run.result.samples[0].values[i] *= 1 - 0.02 * static_cast<double>(i);
            }
        }
    };
    const Evidence evidence = evidence_of(plan);
    ASSERT_EQ(evidence.cells.size(), 1u);
    EXPECT_EQ(evidence.cells[0].repeats.size(), 1u);
    ASSERT_EQ(evidence.excluded.size(), 4u);
    const char* words[] = {"throttled", "another process", "the clock moved", "drift"};
    for (int i = 0; i < 4; ++i) {
        const std::string text = evidence.excluded[static_cast<std::size_t>(i)].text();
        EXPECT_NE(text.find(words[i]), std::string::npos) << text;
    }
}

TEST(Compare, aMethodWhoseRunsWereAllDisturbedIsNotSaidToBeUnknown) {
    SyntheticPlan plan;
    plan.cells = {{"gpt2", "fp16", {}, 100}, {"gpt2", "llmint8-bnb", 6, 50}};
    plan.damage = [](FinishedRun& run, const SyntheticCell& cell, int) {
        if (cell.method != "fp16") {
            run.result.measurements.push_back({"window_throttled", "1", 0, 1});
        }
    };
    const Evidence evidence = evidence_of(plan);
    for (const char* name : {"llmint8-bnb", "llmint8-bnb T=6"}) {
        const auto method = resolve_method(evidence, name);
        ASSERT_FALSE(method.ok());
        EXPECT_EQ(method.error().message,
                  "`" + std::string(name) +
                      "` was measured, but all its 3 runs are left out: throttled "
                      "(`query --view v_windows`)");
    }
}

TEST(Evidence, pairsAnEightBitHeadWithTheBaselinesOwnHead) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    const auto add = [&](const char* method, int head, double rate) {
        for (int repeat = 0; repeat < 2; ++repeat) {
            StoredJob job = make_job(method, repeat);
            job.cell.spec.head_bits = head;
            rekey(job);
            put_jobs(*store, "e", {job});
            put_run(*store, make_run(job, rate * (1 + 0.001 * repeat)));
        }
    };
    add("fp16", 16, 100);
    add("int8", 8, 150);
    add("nf4", 16, 120);
    add("nf4", 8, 180);
    const Result<Evidence> evidence = read_evidence(*store, {"e", "", ""});
    ASSERT_TRUE(evidence.ok()) << evidence.error().message;
    EXPECT_EQ(evidence->methods(),
              (std::vector<std::string>{"fp16", "int8", "nf4 head 16", "nf4 head 8"}));
    const auto rows = compare(*evidence, {"int8", "fp16"});
    ASSERT_TRUE(rows.ok()) << rows.error().message;
    EXPECT_NEAR(rows->front().speedup, 1.5, 1e-9);
    // Equal heads first.
    const auto heads = compare(*evidence, {"nf4 head 8", "int8"});
    ASSERT_TRUE(heads.ok()) << heads.error().message;
    EXPECT_NEAR(heads->front().speedup, 1.2, 1e-9);
    EXPECT_NE(compare(*evidence, {"nf4", "fp16"}).error().message.find("thresholds or heads"),
              std::string::npos);
}

TEST(Evidence, neverPoolsNumericsRevisions) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    // Revisions are each method's own: fp16's is another, and that tells nobody anything.
    StoredJob base = make_job("fp16");
    base.cell.identity.numerics_revision = 3;
    rekey(base);
    put_jobs(*store, "e", {base});
    put_run(*store, make_run(base, 100));
    for (int revision : {1, 2}) {
        for (int repeat = 0; repeat < 2; ++repeat) {
            StoredJob job = make_job("int8", repeat);
            job.cell.identity.numerics_revision = revision;
            rekey(job);
            put_jobs(*store, "e", {job});
            put_run(*store, make_run(job, revision * 100));
        }
    }
    const Result<Evidence> evidence = read_evidence(*store, {"e", "", ""});
    ASSERT_TRUE(evidence.ok()) << evidence.error().message;
    ASSERT_EQ(evidence->cells.size(), 3u);
    EXPECT_EQ(evidence->cells[0].method, "fp16");
    EXPECT_EQ(evidence->cells[0].model, "tiny");
    for (std::size_t i = 1; i < 3; ++i) {
        const MeasuredCell& cell = evidence->cells[i];
        EXPECT_EQ(evidence->baseline_of(cell), &evidence->cells[0]);
        EXPECT_EQ(cell.repeats.size(), 2u);
        EXPECT_NEAR(std::exp(cell.decode_rate().centre()), cell.numerics * 100, 1e-9);
        EXPECT_EQ(cell.method, "int8 numerics=" + std::to_string(cell.numerics));
    }
}

TEST(Evidence, revisionsOfTwoDevicesAreNotTakenForTwoOfOne) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    for (int revision : {1, 2}) {
        StoredJob job = make_job("int8", revision);
        job.cell.identity.numerics_revision = revision;
        rekey(job);
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, 100);
        run.device_kind = run.device_name = revision == 1 ? "cpu" : "H100";
        put_run(*store, run);
    }
    const Result<Evidence> evidence = read_evidence(*store, {"e", "", ""});
    ASSERT_TRUE(evidence.ok()) << evidence.error().message;
    ASSERT_EQ(evidence->cells.size(), 2u);
    for (const MeasuredCell& cell : evidence->cells) {
        EXPECT_EQ(cell.method, "int8") << cell.device;
    }
}

TEST(Holm, correctsStepByStep) {
    const std::vector<double> p = {0.01, std::nan(""), 0.04, 0.03};
    const auto steps = holm(p);
    EXPECT_DOUBLE_EQ(steps[0].p, 0.03);
    EXPECT_DOUBLE_EQ(steps[3].p, 0.06);
    EXPECT_DOUBLE_EQ(steps[2].p, 0.06);  // never below an earlier step
    EXPECT_TRUE(std::isnan(steps[1].p));
    EXPECT_NEAR(steps[0].confidence, 1 - 0.05 / 3, 1e-12);
}

TEST(UnseenRate, isTheRuleOfThree) {
    EXPECT_NEAR(unseen_rate_bound(1000), 3.0 / 1000, 1e-5);
    EXPECT_NEAR(unseen_rate_bound(1), 0.95, 1e-12);
    EXPECT_EQ(unseen_rate_bound(0), 1);
}

}  // namespace
}  // namespace bitsweep::testing
