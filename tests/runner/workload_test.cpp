// The protocols as data and the stop rule, driven by sequences of known length.
#include "worker/runner/workload.h"

#include <gtest/gtest.h>

namespace bitsweep {
namespace {

using Rates = std::vector<double>;

// Sequences of 10 steps whose step times repeat in order, in microseconds.
class FakeSequences {
 public:
    explicit FakeSequences(std::vector<std::int64_t> step_us) : step_us_(std::move(step_us)) {}

    Result<Sequence> operator()() {
        const std::int64_t us = step_us_[static_cast<std::size_t>(taken_) % step_us_.size()];
        ++taken_;
        Sequence sequence;
        sequence.trace.prompt_tokens = 4;
        sequence.trace.prefill_ns = us * 1000;
        sequence.trace.token_ns.assign(10, us * 1000);
        sequence.new_ids = {taken_ % 2 == 0 && varied ? 1 : 0};
        return sequence;
    }
    int taken() const { return taken_; }
    bool varied = false;

 private:
    std::vector<std::int64_t> step_us_;
    int taken_ = 0;
};

WorkloadResult run(const SamplingRule& rule, FakeSequences& fake) {
    auto result = run_workload(rule, [&] { return fake(); }, {});
    EXPECT_TRUE(result.ok());
    return std::move(*result);
}

TEST(Protocol, QuickStopsAtThreeSequencesWhenTheyAgree) {
    FakeSequences fake({100});
    const WorkloadResult result = run(sampling_rule(Protocol::quick, 1), fake);
    EXPECT_EQ(1U, result.trace.warmup.size());
    EXPECT_EQ(3U, result.trace.sequences.size());
    EXPECT_EQ("half-width", result.trace.stop_reason);
}

TEST(Protocol, QuickTakesTenSequencesWhenTheyDisagree) {
    FakeSequences fake({100, 200});
    const WorkloadResult result = run(sampling_rule(Protocol::quick, 2), fake);
    EXPECT_EQ(2U, result.trace.warmup.size());
    EXPECT_EQ(10U, result.trace.sequences.size());
    EXPECT_EQ("fixed", result.trace.stop_reason);
}

TEST(Protocol, TheSeedsReportIsOneWarmUpAndOneRun) {
    FakeSequences fake({100});
    const WorkloadResult result = run(sampling_rule(Protocol::seed_report, 1), fake);
    EXPECT_EQ(2, fake.taken());
    EXPECT_EQ("fixed", result.trace.stop_reason);
}

TEST(Protocol, StandardWarmsUpUntilFiveSequencesAgree) {
    // Slow starts, then steady: 3 cold ones and five equal ones.
    FakeSequences fake({900, 500, 300, 100, 100, 100, 100, 100, 100, 100,
                        100, 100, 100, 100, 100, 100, 100, 100, 100, 100});
    const WorkloadResult result = run(sampling_rule(Protocol::standard, 1), fake);
    EXPECT_EQ(8U, result.trace.warmup.size());
    EXPECT_EQ(10U, result.trace.sequences.size());
    EXPECT_EQ("half-width", result.trace.stop_reason);
}

TEST(Protocol, StandardWarmsUpTwentySequencesAtMost) {
    const SamplingRule rule = sampling_rule(Protocol::standard, 1);
    const Rates unsteady = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1};
    EXPECT_FALSE(warm(rule, unsteady, 1));
    Rates twenty = unsteady;
    twenty.push_back(2);
    EXPECT_TRUE(warm(rule, twenty, 1));
}

TEST(Protocol, ZeroWarmUpMeansNone) {
    EXPECT_TRUE(warm(sampling_rule(Protocol::quick, 0), {}, 0));
    EXPECT_FALSE(warm(sampling_rule(Protocol::quick, 1), {}, 0));
}

TEST(StopRule, EndsAtTheBudgetWhenTheWidthIsNotReached) {
    const SamplingRule quick = sampling_rule(Protocol::quick, 1);
    const Rates noisy = {1, 2, 3};
    EXPECT_FALSE(why_stop(quick, noisy, 4.9));
    EXPECT_EQ("budget", *why_stop(quick, noisy, 5.0));
}

TEST(StopRule, KeepsTheLeastNumberOfSequencesUnlessTwiceTheBudgetIsGone) {
    const SamplingRule quick = sampling_rule(Protocol::quick, 1);
    const Rates two = {1, 1};
    EXPECT_FALSE(why_stop(quick, two, 9));
    EXPECT_EQ("budget", *why_stop(quick, two, 10));
    EXPECT_FALSE(why_stop(quick, {}, 100));  // never without a sequence
}

TEST(StopRule, OfStandardAcceptsFewerSequencesThatTookFiveSeconds) {
    const SamplingRule standard = sampling_rule(Protocol::standard, 1);
    const Rates two = {100, 100};
    EXPECT_FALSE(why_stop(standard, two, 4));
    EXPECT_EQ("half-width", *why_stop(standard, two, 5));
}

TEST(StopRule, OfHeadlineWantsHalfAPercent) {
    const SamplingRule headline = sampling_rule(Protocol::headline, 1);
    Rates rates(30, 100.0);
    for (std::size_t i = 0; i < rates.size(); i += 2) {
        rates[i] = 103;  // half-width about 0.7 %
    }
    EXPECT_FALSE(why_stop(headline, rates, 20));
    EXPECT_EQ("budget", *why_stop(headline, rates, 120));
}

TEST(Workload, NoticesWhenSequencesDoNotChooseTheSameTokens) {
    FakeSequences same({100});
    EXPECT_TRUE(run(sampling_rule(Protocol::quick, 1), same).same_text);
    FakeSequences varied({100});
    varied.varied = true;
    EXPECT_FALSE(run(sampling_rule(Protocol::quick, 1), varied).same_text);
}

TEST(Workload, EndsWithTheErrorOfASequence) {
    int calls = 0;
    const auto result = run_workload(sampling_rule(Protocol::quick, 1),
                                     [&]() -> Result<Sequence> {
                                         if (++calls == 3) {
                                             return make_error(ErrorCode::invalid_numbers, "NaN");
                                         }
                                         return FakeSequences({100})();
                                     },
                                     {});
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(ErrorCode::invalid_numbers, result.error().code);
    EXPECT_EQ(3, calls);
}

TEST(Heat, IsSteadyWhenALineThroughHalfAMinuteMovesByLessThanADegree) {
    std::vector<HeatReading> readings;
    EXPECT_FALSE(heat_is_steady(readings));
    for (int s = 0; s < 30; ++s) {
        readings.push_back({static_cast<double>(s), 50});
    }
    EXPECT_FALSE(heat_is_steady(readings)) << "29 s are no 30";
    readings.push_back({30, 51});
    EXPECT_TRUE(heat_is_steady(readings)) << "one step of the sensor is no slope";
    for (int s = 31; s < 60; ++s) {
        readings.push_back({static_cast<double>(s), 50 + s / 10.0});
    }
    EXPECT_FALSE(heat_is_steady(readings)) << "3 C in 30 s";
    for (int s = 60; s < 95; ++s) {
        readings.push_back({static_cast<double>(s), 56});
    }
    EXPECT_TRUE(heat_is_steady(readings)) << "what is older than the window does not count";
}

TEST(Heat, LengthensAWarmUpThatIsSteadyByItsRates) {
    FakeSequences fake({100});
    SamplingRule rule = sampling_rule(Protocol::headline, 20);
    EXPECT_TRUE(rule.steady_heat);
    EXPECT_FALSE(sampling_rule(Protocol::standard, 20).steady_heat);
    rule.budget_s = 0.05;  // no 30 s of readings: the budget ends it
    rule.least_seconds = 0.01;
    const auto moving = run_workload(
        rule, [&] { return fake(); }, {}, {}, [] { return std::optional(50.0); });
    ASSERT_TRUE(moving.ok());
    EXPECT_EQ("still moving", moving->heat);
    EXPECT_GT(moving->trace.warmup.size(), 20U);
    const auto unread = run_workload(
        rule, [&] { return fake(); }, {}, {}, [] { return std::optional<double>(); });
    ASSERT_TRUE(unread.ok());
    EXPECT_EQ("not read", unread->heat);
    EXPECT_EQ(5U, unread->trace.warmup.size());
}

}  // namespace
}  // namespace bitsweep
