// The drawn median against every resample there is, and the fast bootstrap against the readable
// one.
#include "results/analysis/median_draws.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/analysis/readable_bootstrap.h"
#include "tests/analysis/synthetic.h"

namespace bitsweep::testing {
namespace {

struct Moments {
    double mean = 0, variance = 0;
};

// Over all n^n resamples, each as likely as any other.
Moments by_enumeration(const std::vector<double>& values) {
    const std::size_t n = values.size();
    const auto all = static_cast<std::size_t>(std::llround(std::pow(n, n)));
    double sum = 0, squares = 0;
    std::vector<double> drawn(n);
    for (std::size_t number = 0; number < all; ++number) {
        std::size_t rest = number;
        for (double& value : drawn) {
            value = values[rest % n];
            rest /= n;
        }
        const double one = std::log(readable::median(drawn));
        sum += one;
        squares += one * one;
    }
    const double mean = sum / static_cast<double>(all);
    return {mean, squares / static_cast<double>(all) - mean * mean};
}

TEST(MedianDraws, areWhatEveryResampleGives) {
    const std::vector<double> values[] = {
        {7},          {3, 5},       {2, 3, 11},        {1, 2, 4, 9},
        {4, 4, 5, 6}, {8, 8, 8, 8}, {5, 1, 3, 20, 21}, {6, 2, 9, 4, 30, 5}};
    for (const std::vector<double>& sample : values) {
        const Moments exact = by_enumeration(sample);
        const MedianDraws draws(sample);
        EXPECT_NEAR(draws.mean(), exact.mean, 1e-12) << sample.size();
        EXPECT_NEAR(draws.variance(), exact.variance, 1e-12) << sample.size();
        EXPECT_NEAR(draws.centre(), std::log(readable::median(sample)), 1e-15);
    }
}

TEST(MedianDraws, followTheirOwnMoments) {
    // Five standard errors of 200,000 draws; sizes on both sides of what the table cuts away.
    constexpr int count = 200'000;
    Gauss gauss(5);
    for (const int size : {1, 2, 3, 10, 31, 200, 3001, 20'000}) {
        const MedianDraws draws(gauss.samples(100, 0, 0.05, size));
        Random random(11);
        double sum = 0, squares = 0;
        for (int i = 0; i < count; ++i) {
            const double distance = draws.draw(random) - draws.mean();
            sum += distance / count;
            squares += distance * distance / count;
        }
        const double error = std::sqrt(draws.variance() / count);
        EXPECT_NEAR(sum, 0, 5 * error + 1e-15) << size;
        EXPECT_NEAR(squares, draws.variance(), 0.03 * draws.variance()) << size;
        // 1.2533 standard deviations over sqrt(n) for many samples of a normal distribution.
        if (size > 1000) {
            EXPECT_NEAR(std::sqrt(draws.variance()), 1.2533 * 0.05 / std::sqrt(size),
                        0.2 * 0.05 / std::sqrt(size));
        }
    }
    EXPECT_EQ(MedianDraws({}).mean(), 0);
}

// Ends of an interval, in half-widths of the other: how far two bootstraps are apart.
double apart(const Interval& one, const Interval& other) {
    const double half = std::log(other.high / other.low) / 2;
    return std::max(std::fabs(std::log(one.low / other.low)),
                    std::fabs(std::log(one.high / other.high))) /
           half;
}

TEST(Bootstrap, isTheReadableOneWithinItsNoise) {
    // 20,000 draws know a 2.5 % quantile to 1 % of its distance from the centre, and 4,000 know the
    // scale to 1.2 %: 5 % is three of their standard errors together.
    constexpr double noise = 0.05;
    const Resampling how{.resamples = 20'000};
    Gauss gauss(9);
    // Two processes of two samples have so few medians that their quantiles jump.
    constexpr struct {
        int processes, samples;
    } shapes[] = {{2, 31}, {3, 1}, {3, 2}, {3, 10}, {5, 1}, {5, 31}, {12, 1}, {12, 10}};
    for (const auto& shape : shapes) {
        std::vector<Process> alone, pairs;
        for (int p = 0; p < shape.processes; ++p) {
            alone.push_back({gauss.samples(100, 0.01, 0.02, shape.samples), {}});
            pairs.push_back({gauss.samples(150, 0.01, 0.02, shape.samples),
                             gauss.samples(100, 0.01, 0.02, shape.samples + 1)});
        }
        for (const auto& measured : {alone, pairs}) {
            const Interval fast = bootstrap_interval(ProcessSampler(measured), how);
            const Interval slow = readable::interval(measured, how, 4000);
            EXPECT_DOUBLE_EQ(fast.centre, slow.centre);
            EXPECT_LT(apart(fast, slow), noise) << shape.processes << " x " << shape.samples;
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing
