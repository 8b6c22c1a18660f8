#include "results/analysis/interval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace bitsweep {
namespace {

TEST(Median, isTheMiddleOrTheMeanOfTheMiddleTwo) {
    EXPECT_EQ(median(std::vector<double>{3, 1, 2}), 2);
    EXPECT_EQ(median(std::vector<double>{4, 1, 2, 3}), 2.5);
    EXPECT_EQ(median(std::vector<double>{7}), 7);
    EXPECT_TRUE(std::isnan(median({})));
}

TEST(LogInterval, agreesWithTheHandComputedCase) {
    // Logarithms 0, ln 2, 2 ln 2: mean and deviation ln 2; half width 4.303 ln 2 / sqrt(3).
    const Interval interval = log_t_interval(std::vector<double>{1, 2, 4});
    EXPECT_NEAR(interval.centre, 2, 1e-12);
    EXPECT_NEAR(interval.low, 2 * std::exp(-1.7220), 1e-3);
    EXPECT_NEAR(interval.high, 2 * std::exp(1.7220), 1e-2);
    EXPECT_FALSE(interval.excludes_one());
}

TEST(LogInterval, ofARatioAndItsInverseAreInverse) {
    const Interval there = log_t_interval(std::vector<double>{1.5, 1.7, 1.6, 1.55});
    const Interval back = log_t_interval(std::vector<double>{1 / 1.5, 1 / 1.7, 1 / 1.6, 1 / 1.55});
    EXPECT_NEAR(there.low * back.high, 1, 1e-12);
    EXPECT_NEAR(there.high * back.low, 1, 1e-12);
    EXPECT_TRUE(there.excludes_one());
    EXPECT_TRUE(back.excludes_one());
}

TEST(LogInterval, ofOneValueKnowsNoWidthAndResolvesNothing) {
    const Interval interval = log_t_interval(std::vector<double>{3});
    EXPECT_EQ(interval.centre, 3);
    EXPECT_FALSE(interval.known());
    EXPECT_FALSE(interval.excludes_one());
}

TEST(LogInterval, ofEqualValuesIsThatValue) {
    const Interval interval = log_t_interval(std::vector<double>{1, 1, 1});
    EXPECT_EQ(interval.low, 1);
    EXPECT_EQ(interval.high, 1);
    EXPECT_FALSE(interval.excludes_one());
}

TEST(LogInterval, isUnknownForValuesThatHaveNoLogarithm) {
    for (const double bad : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
        EXPECT_TRUE(std::isnan(log_t_interval(std::vector<double>{1, bad}).centre));
    }
    EXPECT_TRUE(std::isnan(log_t_interval({}).centre));
}

TEST(Student, quantilesMatchTheTableAndApproachTheNormal) {
    EXPECT_EQ(t_quantile_975(1), 12.706);
    EXPECT_EQ(t_quantile_975(2), 4.303);
    EXPECT_EQ(t_quantile_975(30), 2.042);
    EXPECT_NEAR(t_quantile_975(31), 2.0395, 1e-3);   // tables: 2.040
    EXPECT_NEAR(t_quantile_975(60), 2.0003, 1e-3);   // tables: 2.000
    EXPECT_NEAR(t_quantile_975(120), 1.9799, 1e-3);  // tables: 1.980
    EXPECT_TRUE(std::isnan(t_quantile_975(0)));
}

}  // namespace
}  // namespace bitsweep
