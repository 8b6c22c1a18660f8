#include "results/analysis/summary.h"

#include <cmath>

#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

struct Summaries : ::testing::Test {
    TempFolder folder;
    std::unique_ptr<Store> store = open_store(folder / "a.db");

    void add(const StoredJob& job, double decode, std::vector<Measurement> more = {},
             const std::string& stored_type = "F16", const std::string& device = "test cpu") {
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, decode);
        run.device_name = device;
        run.result.provenance = {{"weights_type", stored_type}};
        run.result.measurements.insert(run.result.measurements.end(), more.begin(), more.end());
        put_run(*store, run);
    }
    Summary summary() {
        Result<Summary> result = summarize(*store, {"e"});
        EXPECT_TRUE(result.ok()) << result.error().message;
        return result.ok() ? *result : Summary{};
    }
};

TEST_F(Summaries, everyNumberIsAsComputedByHand) {
    const double rates[] = {100, 110, 90};
    const double ratios[] = {1.5, 1.6, 1.7};
    for (int repeat = 0; repeat < 3; ++repeat) {
        add(make_job("fp16", repeat), rates[repeat]);
        std::vector<Measurement> more;
        if (repeat == 0) {
            more = {{"weights_bytes", "B", 0, 5.0 * 1048576},
                    {"weights_ratio", "1", 0, 0.625},
                    {"perplexity", "1", 0, 12.5},
                    {"kl_mean", "nat", 0, 0.001},
                    {"top1_agreement", "1", 0, 0.97},
                    {"text_identical", "1", 0, 0},
                    {"text_first_divergence", "1", 0, 7}};
        }
        add(make_job("llmint8-bnb", repeat, 6.0), rates[repeat] * ratios[repeat], more);
    }
    const Summary s = summary();
    ASSERT_EQ(s.rows.size(), 2u);
    const SummaryRow& base = s.rows[0];
    EXPECT_TRUE(base.is_baseline);
    EXPECT_EQ(base.method, "fp16");
    EXPECT_EQ(base.decode_tokens_per_s, 100);
    EXPECT_FALSE(base.rounds_activations);
    EXPECT_TRUE(std::isnan(base.perplexity));
    EXPECT_TRUE(std::isnan(base.weights_mib));

    const SummaryRow& row = s.rows[1];
    EXPECT_EQ(row.model, "tiny");
    EXPECT_EQ(row.method, "llmint8-bnb T=6");
    EXPECT_EQ(row.device, "cpu");
    EXPECT_EQ(row.repeats, 3);
    EXPECT_EQ(row.pairs, 3);
    EXPECT_EQ(row.baseline, "fp16");
    EXPECT_TRUE(row.rounds_activations);
    EXPECT_DOUBLE_EQ(row.decode_tokens_per_s, 153);  // of 150, 176, 153
    // Logarithms of 1.5, 1.6, 1.7: mean 0.468700, deviation 0.062585; half 4.303 x 0.036134.
    EXPECT_NEAR(row.speedup, std::exp(0.468700), 1e-5);
    EXPECT_NEAR(row.speedup_low, std::exp(0.468700 - 0.155484), 1e-4);
    EXPECT_NEAR(row.speedup_high, std::exp(0.468700 + 0.155484), 1e-4);
    EXPECT_EQ(row.weights_mib, 5);
    EXPECT_EQ(row.weights_ratio, 0.625);
    EXPECT_EQ(row.perplexity, 12.5);
    EXPECT_EQ(row.kl_mean, 0.001);
    EXPECT_EQ(row.top1, 0.97);
    EXPECT_EQ(row.text, "diverges at token 7");
    EXPECT_EQ(s.answer,
              "On tiny, llmint8-bnb T=6 decodes 1.60x as fast as fp16 (95 % 1.37-1.87, 3 "
              "repeats).");
    EXPECT_TRUE(s.failures.empty());
}

TEST_F(Summaries, aDisturbedRunIsLeftOutOfTheSpeedsAndNamed) {
    for (int repeat = 0; repeat < 3; ++repeat) {
        std::vector<Measurement> more = {{"kl_mean", "nat", 0, 0.001}};
        if (repeat == 0) {
            more.push_back({"window_throttled", "1", 0, 1});
        }
        add(make_job("fp16", repeat), 100);
        add(make_job("int8", repeat), repeat == 0 ? 10 : 150, more);
    }
    const Summary s = summary();
    ASSERT_EQ(s.rows.size(), 2u);
    EXPECT_EQ(s.rows[0].repeats, 3);
    EXPECT_EQ(s.rows[1].repeats, 2);
    EXPECT_EQ(s.rows[1].pairs, 2);
    EXPECT_EQ(s.rows[1].decode_tokens_per_s, 150);
    EXPECT_EQ(s.rows[1].kl_mean, 0.001);  // what was computed stays
    ASSERT_FALSE(s.notes.empty());
    EXPECT_EQ(s.notes.back(), "left out of the speeds: tiny int8 on cpu, repeat 0: throttled");
}

TEST_F(Summaries, manyDisturbedRunsAreCountedByWhatWasWrong) {
    for (int repeat = 0; repeat < 8; ++repeat) {
        const char* flag = repeat == 0 ? "window_throttled" : "window_foreign_load";
        add(make_job("int8", repeat), 100, {{flag, "1", 0, 1}});
    }
    add(make_job("fp16"), 90, {{"window_foreign_load", "1", 0, 1}});
    const Summary s = summary();
    ASSERT_EQ(s.rows.size(), 2u);
    EXPECT_EQ(s.rows[1].repeats, 0);
    EXPECT_TRUE(std::isnan(s.rows[1].decode_tokens_per_s));
    EXPECT_EQ(s.rows[1].disturbed_tokens_per_s, 100);
    EXPECT_NE(to_text(s, 120, false).find("(100.0)"), std::string::npos) << to_text(s, 120, false);
    EXPECT_EQ(
        s.answer,
        "On tiny, not resolved: no window of its 16-bit baseline counts, all were disturbed.");
    ASSERT_GE(s.notes.size(), 2u);
    EXPECT_EQ(s.notes[s.notes.size() - 2],
              "left out of the speeds: 8 runs: other processes used its cores (`query --view "
              "v_windows`)");
    EXPECT_EQ(s.notes.back(),
              "left out of the speeds: 1 run: throttled (`query --view v_windows`)");
}

TEST_F(Summaries, pairingByRepeatResolvesWhatDriftWouldHide) {
    // The machine slows down to a half, the ratio stays within 1 %.
    const double drift[] = {100, 75, 50};
    const double ratio[] = {1.099, 1.100, 1.101};
    for (int repeat = 0; repeat < 3; ++repeat) {
        add(make_job("fp16", repeat), drift[repeat]);
        add(make_job("int8", repeat), drift[repeat] * ratio[repeat]);
    }
    const SummaryRow row = summary().rows.at(1);
    EXPECT_LT(row.decode_low, 60);
    EXPECT_GT(row.decode_high, 110);
    EXPECT_GT(row.speedup_low, 1.09);
    EXPECT_LT(row.speedup_high, 1.11);
}

TEST_F(Summaries, perplexitiesOfDifferentTokenizersAreNotToBeCompared) {
    const auto notes_with = [&](const char* second) {
        for (const char* model : {"llama-nano", second}) {
            StoredJob job = make_job("fp16");
            job.cell.spec.model.name = model;
            rekey(job);
            add(job, 100, {{"perplexity", "1", 0, 30}});
        }
        std::string all;
        for (const std::string& note : summary().notes) {
            all += note + "\n";
        }
        return all;
    };
    EXPECT_EQ(notes_with("llama-micro").find("bits per byte"), std::string::npos);
    EXPECT_NE(notes_with("gpt2").find("different tokenizers compare in bits per byte"),
              std::string::npos);
}

TEST_F(Summaries, oneRepeatHasNoInterval) {
    add(make_job("fp16"), 100);
    add(make_job("int8"), 300);
    const Summary s = summary();
    EXPECT_TRUE(std::isnan(s.rows.at(1).decode_low));
    EXPECT_TRUE(std::isnan(s.rows.at(1).speedup_high));
    EXPECT_EQ(s.rows.at(1).speedup, 3);
    EXPECT_NE(s.answer.find("not resolved, one repeat"), std::string::npos);
}

TEST_F(Summaries, aRepeatWithoutItsBaselineIsNotPaired) {
    add(make_job("fp16", 0), 100);
    add(make_job("int8", 0), 200);
    add(make_job("int8", 1), 800);
    const SummaryRow row = summary().rows.at(1);
    EXPECT_EQ(row.repeats, 2);
    EXPECT_EQ(row.pairs, 1);
    EXPECT_EQ(row.speedup, 2);
}

TEST_F(Summaries, settingsThatDifferAreNamedAndNotMixed) {
    add(make_job("fp16"), 100);
    StoredJob batched = make_job("fp16");
    batched.cell.spec.batch = 4;
    rekey(batched);
    add(batched, 400);
    const Summary s = summary();
    ASSERT_EQ(s.rows.size(), 2u);
    EXPECT_EQ(s.rows[0].model, "tiny batch=1");
    EXPECT_EQ(s.rows[1].model, "tiny batch=4");
    EXPECT_TRUE(s.rows[1].is_baseline);
}

TEST_F(Summaries, twoMachinesOfOneKindAreTwoRows) {
    add(make_job("fp16", 0), 100, {}, "F16", "slow cpu");
    add(make_job("fp16", 1), 200, {}, "F16", "fast cpu");
    const Summary s = summary();
    ASSERT_EQ(s.rows.size(), 2u);
    EXPECT_EQ(s.rows[0].device, "cpu (slow cpu)");
    EXPECT_EQ(s.rows[1].device, "cpu (fast cpu)");
}

TEST_F(Summaries, failuresCancelledAndMissingCellsAreListed) {
    StoredJob failed = make_job("nf4", 1);
    StoredJob cancelled = make_job("fp4");
    StoredJob through = make_job("int8");
    put_jobs(*store, "e", {failed, cancelled, through, make_job("fp16")});
    failed.state = "failed";
    failed.last_outcome = OutcomeClass::timeout;
    failed.last_message = "no token for 600 s";
    cancelled.state = "cancelled";
    ASSERT_TRUE(store
                    ->transact([&](StoreWriter& w) -> Status {
                        TRY(w.set_job(failed));
                        return w.set_job(cancelled);
                    })
                    .ok());
    FinishedRun crash = make_run(through, 1);
    crash.result.outcome.outcome = OutcomeClass::crash;
    put_run(*store, crash);
    FinishedRun again = make_run(through, 1);
    again.result.attempt = {2};
    put_run(*store, again);
    EXPECT_EQ(summary().failures, (std::vector<std::string>{
                                      "tiny nf4 repeat 1: timeout: no token for 600 s",
                                      "tiny fp4 repeat 0: cancelled", "1 cell has no result yet"}));
}

TEST_F(Summaries, weightsThatWereStoredAtFourBitsAreSaidToFlatterOnce) {
    add(make_job("fp16"), 100, {}, "Q4_1,Q6_K");
    add(make_job("nf4"), 100, {}, "Q4_1,Q6_K");
    int notes = 0;
    for (const std::string& note : summary().notes) {
        notes += note.find("flatters the 4-bit methods") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(notes, 1);
}

TEST_F(Summaries, weightsThatWereStoredAtMoreBitsAreNot) {
    add(make_job("fp16"), 100, {}, "F16");
    add(make_job("nf4"), 100, {}, "Q8_0");
    for (const std::string& note : summary().notes) {
        EXPECT_EQ(note.find("flatters"), std::string::npos) << note;
    }
}

TEST_F(Summaries, anUnknownExperimentIsNotFoundAndTheKnownOnesAreNamed) {
    add(make_job("fp16"), 100);
    const auto none = summarize(*store, {"it's another"});
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.error().code, ErrorCode::not_found);
    EXPECT_NE(none.error().message.find("it has e"), std::string::npos);
}

TEST_F(Summaries, theQuestionComesFromTheFileAndNamesMayHoldQuotes) {
    const Status put = store->transact([&](StoreWriter& w) {
        StoredExperiment experiment = make_experiment("it's");
        experiment.yaml = "question: Which?\n";
        return w.put_experiment(experiment);
    });
    ASSERT_TRUE(put.ok());
    const auto result = summarize(*store, {"it's"});
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(result->question, "Which?");
    EXPECT_EQ(result->answer, "not resolved: no cell has a result");
    EXPECT_FALSE(to_text(*result, 80, false).empty());
    EXPECT_FALSE(to_html(*result).empty());
}

}  // namespace
}  // namespace bitsweep::testing
