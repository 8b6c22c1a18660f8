#include "worker/metrics/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace bitsweep {
namespace {

using Numbers = std::vector<double>;

TEST(Percentile, InterpolatesLinearlyLikeNumpy) {
    // numpy.percentile([15, 20, 35, 40, 50], [50, 90, 99]) = [35, 46, 49.6]
    const Numbers values = {40, 15, 50, 20, 35};
    EXPECT_DOUBLE_EQ(35, *percentile(values, 0.5));
    EXPECT_DOUBLE_EQ(46, *percentile(values, 0.9));
    EXPECT_NEAR(49.6, *percentile(values, 0.99), 1e-12);
}

TEST(Percentile, OfOneValueIsThatValueAtEveryQuantile) {
    const Numbers one = {7};
    for (const double q : {0.0, 0.5, 0.99, 1.0}) {
        EXPECT_DOUBLE_EQ(7, *percentile(one, q));
    }
}

TEST(Percentile, OfNothingIsNotANumberButAbsent) {
    EXPECT_FALSE(percentile(Numbers{}, 0.5));
    EXPECT_FALSE(median(Numbers{}));
    EXPECT_FALSE(mean(Numbers{}));
    EXPECT_FALSE(minimum(Numbers{}));
    EXPECT_FALSE(median_absolute_deviation(Numbers{}));
}

TEST(Percentile, EndsAreTheExtremesAndWilderQuantilesAreClamped) {
    const Numbers values = {3, 1, 2};
    EXPECT_DOUBLE_EQ(1, *percentile(values, 0));
    EXPECT_DOUBLE_EQ(3, *percentile(values, 1));
    EXPECT_DOUBLE_EQ(3, *percentile(values, 2));
    EXPECT_DOUBLE_EQ(1, *percentile(values, -1));
}

TEST(Median, OfAnEvenCountIsTheMeanOfTheMiddleTwo) {
    EXPECT_DOUBLE_EQ(2.5, *median(Numbers{4, 1, 3, 2}));
}

TEST(Deviation, MedianAbsoluteDeviationIgnoresOneWildValue) {
    // median 3, distances 2 1 0 1 997 -> median 1
    EXPECT_DOUBLE_EQ(1, *median_absolute_deviation(Numbers{1, 2, 3, 4, 1000}));
}

TEST(Deviation, IsOverNMinusOneAndNeedsTwoValues) {
    EXPECT_DOUBLE_EQ(std::sqrt(2.5), *standard_deviation(Numbers{1, 2, 3, 4, 5}));
    EXPECT_FALSE(standard_deviation(Numbers{1}));
}

TEST(HalfWidth, OfThreeSequencesIsComputedByHand) {
    // s = 1, t(2) = 4.3027, sqrt(pi/2) = 1.253314, median 100:
    // 4.3027 x 1.253314 x 1 / sqrt(3) / 100
    EXPECT_NEAR(0.0311341, *relative_half_width(Numbers{99, 100, 101}), 1e-6);
}

TEST(HalfWidth, OfEqualValuesIsZeroAndOfOneValueIsAbsent) {
    EXPECT_DOUBLE_EQ(0, *relative_half_width(Numbers{5, 5, 5}));
    EXPECT_FALSE(relative_half_width(Numbers{5}));
    EXPECT_FALSE(relative_half_width(Numbers{0, 0, 0}));
}

TEST(HalfWidth, StudentQuantilesMeetTheTableAndItsEnd) {
    EXPECT_DOUBLE_EQ(12.7062, student_t_975(1));
    EXPECT_NEAR(2.0423, student_t_975(30), 1e-9);
    EXPECT_NEAR(2.0003, student_t_975(60), 1e-4);
    EXPECT_NEAR(1.9799, student_t_975(120), 1e-4);
}

TEST(Lag1, OfAnAlternatingSeriesIsNegativeAndOfATrendPositive) {
    const std::vector<Numbers> alternating = {{1, 2, 1, 2, 1, 2}};
    // mean 1.5, squares 6 x 0.25, products 5 x -0.25
    EXPECT_NEAR(-5.0 / 6, *lag1(alternating), 1e-12);
    const std::vector<Numbers> trend = {{1, 2, 3, 4, 5, 6}};
    EXPECT_GT(*lag1(trend), 0.4);
}

TEST(Lag1, NeverPairsTheEndOfOneSequenceWithTheStartOfTheNext) {
    const std::vector<Numbers> runs = {{1, 1}, {9, 9}};
    // mean 5, squares 64, products 16 + 16; a pair across would add (1 - 5)(9 - 5) = -16
    EXPECT_DOUBLE_EQ(0.5, *lag1(runs));
}

TEST(Lag1, IsAbsentForConstantSeriesAndForSingleValues) {
    EXPECT_FALSE(lag1(std::vector<Numbers>{{3, 3, 3}}));
    EXPECT_FALSE(lag1(std::vector<Numbers>{{1}, {2}}));
    EXPECT_FALSE(lag1(std::vector<Numbers>{}));
}

}  // namespace
}  // namespace bitsweep
