#include "worker/metrics/quality.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace bitsweep {
namespace {

std::vector<float> logits_of(const std::vector<double>& probabilities, float shift) {
    std::vector<float> logits;
    for (const double p : probabilities) {
        logits.push_back(static_cast<float>(std::log(p)) + shift);
    }
    return logits;
}

TEST(ScorePosition, KnowsTheDivergenceOfTwoCoins) {
    const auto fp32 = logits_of({0.5, 0.5}, 0);
    const auto method = logits_of({0.25, 0.75}, 0);
    const PositionScore score = score_position(fp32.data(), method.data(), 2, 0);
    // 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
    EXPECT_NEAR(0.14384103622589042, score.kl, 1e-7);
    EXPECT_NEAR(-std::log(0.25), score.nll, 1e-7);
    EXPECT_NEAR(-std::log(0.5), score.nll_fp32, 1e-7);
    EXPECT_NEAR(-0.25, score.dp, 1e-7);
}

TEST(ScorePosition, DoesNotSeeAConstantAddedToAllLogits) {
    const auto fp32 = logits_of({0.1, 0.2, 0.7}, 0);
    const auto method = logits_of({0.1, 0.2, 0.7}, 64);
    const PositionScore score = score_position(fp32.data(), method.data(), 3, 2);
    EXPECT_NEAR(0, score.kl, 1e-9);
    EXPECT_NEAR(score.nll, score.nll_fp32, 1e-5);
    EXPECT_TRUE(score.same_top);
}

TEST(ScorePosition, OfEqualLogitsIsExactlyZeroDivergence) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal(0, 4);
    std::vector<float> logits(50001);
    for (float& logit : logits) {
        logit = normal(generator);
    }
    const PositionScore score = score_position(logits.data(), logits.data(), 50001, 7);
    EXPECT_EQ(0, score.kl);
    EXPECT_EQ(0, score.dp);
    EXPECT_TRUE(score.same_top);
}

TEST(ScorePosition, MeetsLongDoubleOnARandomVocabularyOfOddSize) {
    std::mt19937 generator(2);
    std::normal_distribution<float> normal(0, 5);
    const int vocabulary = 4099;  // no multiple of any vector length
    std::vector<float> fp32(vocabulary), method(vocabulary);
    long double sum_a = 0, sum_b = 0, kl = 0;
    for (int i = 0; i < vocabulary; ++i) {
        fp32[i] = normal(generator);
        method[i] = fp32[i] + 0.1F * normal(generator);
        sum_a += expl(fp32[i]);
        sum_b += expl(method[i]);
    }
    for (int i = 0; i < vocabulary; ++i) {
        const long double p = expl(fp32[i]) / sum_a;
        kl += p * ((fp32[i] - logl(sum_a)) - (method[i] - logl(sum_b)));
    }
    const PositionScore score = score_position(fp32.data(), method.data(), vocabulary, 4098);
    EXPECT_NEAR(static_cast<double>(kl), score.kl, 1e-13);
    EXPECT_NEAR(static_cast<double>(logl(sum_b)) - method[4098], score.nll, 1e-13);
}

TEST(ScorePosition, SurvivesLogitsFarBelowTheLargest) {
    const std::vector<float> fp32 = {0, -2000, -2000, -2000, -2000, -2000, -2000, -2000, -2000};
    const PositionScore score = score_position(fp32.data(), fp32.data(), 9, 1);
    EXPECT_NEAR(2000, score.nll, 1e-9);
    EXPECT_EQ(0, score.kl);
    EXPECT_TRUE(std::isfinite(score.nll));
}

TEST(ScorePosition, TiesGoToTheSmallestIndex) {
    const std::vector<float> fp32 = {1, 3, 3, 0};
    const std::vector<float> later = {1, 3, 3.5F, 0};
    const std::vector<float> same = {0, 2, 2, 2};
    EXPECT_FALSE(score_position(fp32.data(), later.data(), 4, 0).same_top);
    EXPECT_TRUE(score_position(fp32.data(), same.data(), 4, 0).same_top);
}

TEST(QualityScores, RefuseNaNAndInfinityAndSayWhichSide) {
    std::vector<float> good(20, 1.0F);
    for (const float poison :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
        std::vector<float> bad = good;
        bad[17] = poison;
        const std::vector<std::int32_t> target = {3};
        QualityScores scores;
        const Status method = scores.add(good.data(), bad.data(), 20, target);
        ASSERT_FALSE(method);
        EXPECT_EQ(ErrorCode::invalid_numbers, method.error().code);
        EXPECT_NE(std::string::npos, method.error().message.find("of the method"));
        const Status fp32 = scores.add(bad.data(), good.data(), 20, target);
        ASSERT_FALSE(fp32);
        EXPECT_NE(std::string::npos, fp32.error().message.find("fp32"));
        EXPECT_EQ(0, scores.tokens());
    }
}

TEST(QualityScores, KeepOneEntryPerTargetInOrder) {
    const std::vector<float> rows = {0, 1, 2, 2, 1, 0};  // two positions, three words
    const std::vector<std::int32_t> targets = {2, 2};
    QualityScores scores;
    ASSERT_TRUE(scores.add(rows.data(), rows.data(), 3, targets));
    ASSERT_EQ(2, scores.tokens());
    EXPECT_LT(scores.nll[0], scores.nll[1]);
    EXPECT_EQ(2, scores.same_top);
}

}  // namespace
}  // namespace bitsweep
