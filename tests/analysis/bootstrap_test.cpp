// Whether the intervals keep their promise, on synthetic data of known truth. Seeds are fixed; the
// band, 93 to 97 %, is three standard deviations of 1,000 trials around the promised 95 %.
#include "results/analysis/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>

#include "results/analysis/student.h"
#include "tests/analysis/synthetic.h"

namespace bitsweep::testing {
namespace {

constexpr int experiments = 1000;
constexpr double truth = 120;  // token/s

struct Noise {
    int processes;
    double between, within;  // standard deviations of logarithms
};

std::vector<Process> measured(Gauss& gauss, const Noise& noise, int samples) {
    std::vector<Process> processes;
    for (int p = 0; p < noise.processes; ++p) {
        processes.push_back({gauss.samples(truth, noise.between, noise.within, samples), {}});
    }
    return processes;
}

TEST(Bootstrap, intervalsHoldTheTruthAsOftenAsTheyPromise) {
    const Noise cases[] = {{2, 0.01, 0.01}, {3, 0.01, 0.003}, {3, 0, 0.02},
                           {3, 0.01, 0.03}, {5, 0.01, 0.01},  {10, 0.01, 0.01}};
    for (const Noise& noise : cases) {
        Gauss gauss(1);
        int held = 0;
        for (int i = 0; i < experiments; ++i) {
            const ProcessSampler sampler(measured(gauss, noise, 10));
            const Interval interval = bootstrap_interval(sampler, {.resamples = 500});
            held += interval.low <= truth && truth <= interval.high ? 1 : 0;
        }
        EXPECT_GE(held, 930) << noise.processes << " processes, " << noise.between;
        EXPECT_LE(held, 970) << noise.processes << " processes, " << noise.between;
    }
}

TEST(Bootstrap, ratiosOfPairsHoldTheTruthAlthoughBothSidesDrift) {
    Gauss gauss(2);
    int held = 0;
    for (int i = 0; i < experiments; ++i) {
        std::vector<Process> pairs;
        for (int p = 0; p < 3; ++p) {
            const double drift = std::exp(0.1 * gauss.next());  // ten times the noise of a process
            pairs.push_back({gauss.samples(1.5 * truth * drift, 0.005, 0.01, 10),
                             gauss.samples(truth * drift, 0.005, 0.01, 10)});
        }
        const Interval interval =
            bootstrap_interval(ProcessSampler(std::move(pairs)), {.resamples = 500});
        held += interval.low <= 1.5 && 1.5 <= interval.high ? 1 : 0;
    }
    EXPECT_GE(held, 930);
    EXPECT_LE(held, 970);
}

TEST(Bootstrap, samplesTakenForProcessesWouldPromiseTooMuch) {
    // The mutant: every sample as if it were a process. It must fail where processes differ.
    Gauss gauss(3);
    int held = 0;
    for (int i = 0; i < experiments; ++i) {
        std::vector<Process> samples;
        for (const Process& process : measured(gauss, {3, 0.01, 0.003}, 10)) {
            for (const double sample : process.samples) {
                samples.push_back({{sample}, {}});
            }
        }
        const Interval interval =
            bootstrap_interval(ProcessSampler(std::move(samples)), {.resamples = 300});
        held += interval.low <= truth && truth <= interval.high ? 1 : 0;
    }
    EXPECT_LT(held, 800);
}

TEST(Bootstrap, oneProcessHasNoIntervalHoweverManySamples) {
    Gauss gauss(6);
    const Interval interval =
        bootstrap_interval(ProcessSampler(measured(gauss, {1, 0.01, 0.003}, 100)), {});
    EXPECT_NEAR(interval.centre, truth, 5);
    EXPECT_FALSE(interval.known());
}

TEST(Bootstrap, isRepeatedExactlyByItsSeed) {
    Gauss gauss(4);
    const ProcessSampler sampler(measured(gauss, {3, 0.01, 0.01}, 10));
    const Interval one = bootstrap_interval(sampler, {.seed = 7});
    const Interval same = bootstrap_interval(sampler, {.seed = 7});
    const Interval other = bootstrap_interval(sampler, {.seed = 8});
    EXPECT_EQ(one.low, same.low);
    EXPECT_EQ(one.high, same.high);
    EXPECT_NE(one.low, other.low);
}

TEST(Bootstrap, leavesOutWhatIsNoRateAndSaysNothingOfNothing) {
    const ProcessSampler sampler({{{100, 110}, {}}, {{100, -1}, {}}, {{}, {}}, {{100}, {0}}});
    EXPECT_EQ(sampler.processes(), 1);
    EXPECT_TRUE(std::isnan(sampler.standard_error()));
    EXPECT_NEAR(std::exp(sampler.centre()), 105, 1e-9);
    const Interval nothing = bootstrap_interval(ProcessSampler({}), {});
    EXPECT_FALSE(nothing.known());
    EXPECT_TRUE(std::isnan(nothing.centre));
}

TEST(Percentile, isLinearBetweenNeighboursAndSurvivesInfinity) {
    const std::vector<double> values = {1, 2, 4, INFINITY};
    EXPECT_EQ(percentile(values, 0), 1);
    EXPECT_DOUBLE_EQ(percentile(values, 0.5), 3);
    EXPECT_EQ(percentile(values, 1), INFINITY);
    EXPECT_EQ(percentile(values, 2.0 / 3), 4);
    EXPECT_TRUE(std::isnan(percentile({}, 0.5)));
}

TEST(Student, agreesWithThePrintedTables) {
    // Abramowitz and Stegun, table 26.10.
    EXPECT_NEAR(student_quantile(0.95, 1), 12.706, 5e-4);
    EXPECT_NEAR(student_quantile(0.95, 2), 4.303, 5e-4);
    EXPECT_NEAR(student_quantile(0.99, 10), 3.169, 5e-4);
    EXPECT_NEAR(student_quantile(0.999, 30), 3.646, 5e-4);
    EXPECT_NEAR(student_two_sided(2.228, 10), 0.05, 1e-4);
    EXPECT_NEAR(normal_quantile(0.95), 1.959964, 1e-6);
    EXPECT_EQ(student_two_sided(INFINITY, 3), 0);
    EXPECT_TRUE(std::isnan(student_quantile(0.95, 0)));
}

}  // namespace
}  // namespace bitsweep::testing
