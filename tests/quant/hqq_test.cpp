// HQQ's solver against the published loop in double precision, and what its zeros gain.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/quant/support.h"
#include "worker/inference/quant/hqq/solve.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep::quant::hqq {
namespace {

constexpr double p = 0.7;

double shrink(double x, double beta) {
    const double size = std::fabs(x);
    const double left = size - std::pow(size, p - 1) / beta;
    return left > 0 ? std::copysign(left, x) : 0;
}

// The loop of the README by its formulas, on the stored scale, in double throughout.
struct Published {
    double zero = 0, error = 1e300;
    int rounds = 0;
};
Published published(const std::vector<float>& w, double scale, double levels) {
    const auto low = std::min(0.0f, *std::ranges::min_element(w));
    double zero = -low / scale, beta = 10;
    Published best;
    for (int round = 0; round < 20; ++round, beta *= 1.01) {
        double next = 0, error = 0;
        for (const float v : w) {
            const double code = std::clamp(std::nearbyint(v / scale + zero), 0.0, levels);
            const double lost = v - (code - zero) * scale;
            next += code - (v - shrink(lost, beta)) / scale;
            error += std::fabs(lost);
        }
        if (error >= best.error) {
            break;
        }
        best = {zero, error, round + 1};
        zero = next / static_cast<double>(w.size());
    }
    best.error /= static_cast<double>(w.size());
    return best;
}

std::vector<float> group_of(std::uint64_t seed, std::int64_t count, double size) {
    auto values = random_values(seed, count, size);
    values[static_cast<std::size_t>(seed) % values.size()] *= 3;  // an uneven range
    return values;
}

TEST(Hqq, TheShrinkOperatorIsThePublishedOneAndNothingBelowItsBound) {
    for (double beta = 10; beta < 12.3; beta *= 1.01) {
        for (double x = 1e-6; x < 1e4; x *= 1.07) {
            const auto value = static_cast<float>(x);
            const double want = shrink(value, static_cast<float>(beta));
            EXPECT_NEAR(shrunk(value, static_cast<float>(beta)), want, 1e-6 * x) << x;
            EXPECT_EQ(shrunk(-value, static_cast<float>(beta)),
                      -shrunk(value, static_cast<float>(beta)));
        }
        EXPECT_EQ(shrink(never_shrunk, beta), 0) << beta;
    }
    EXPECT_GT(shrunk(0.2f, 10), 0);
}

// Sizes 4 and 40 make errors that are shrunk. A zero that falls between two halves, or an error at
// a tie of two codes, may end a few groups elsewhere.
TEST(Hqq, ZerosAreThoseOfThePublishedLoop) {
    for (int bits = 2; bits <= 8; ++bits) {
        for (const double size : {0.02, 4.0, 40.0}) {
            int near = 0, groups = 0;
            for (std::uint64_t seed = 1; seed <= 60; ++seed, ++groups) {
                const std::int64_t count = seed % 3 == 0 ? 33 : 64;
                const auto w = group_of(seed, count, size);
                std::vector<std::uint8_t> codes(w.size());
                const Solution got = solve(w.data(), count, bits, codes.data());
                const double levels = (1 << bits) - 1, middle = 1 << (bits - 1);
                const Published want = published(w, f16_to_f32(got.scale), levels);
                near += std::fabs(f16_to_f32(got.zero) + middle - want.zero) < 0.05 ? 1 : 0;
                EXPECT_LE(got.error, want.error * 1.05) << bits << " bits, seed " << seed;
            }
            EXPECT_GE(near, groups * 3 / 4) << bits << " bits, size " << size;
        }
    }
}

TEST(Hqq, TheErrorFallsWithEveryRoundAndIsThatOfTheCodes) {
    double rounds_together = 0, first = 0, last = 0;
    for (int bits = 2; bits <= 8; ++bits) {
        for (std::uint64_t seed = 1; seed <= 50; ++seed) {
            const auto w = group_of(seed, 64, 0.02);
            std::vector<std::uint8_t> codes(w.size());
            std::vector<float> errors(static_cast<std::size_t>(rounds), -1);
            const Solution got = solve(w.data(), 64, bits, codes.data(), errors.data());
            ASSERT_GE(got.rounds, 1);
            for (int round = 1; round < got.rounds; ++round) {
                ASSERT_LT(errors[static_cast<std::size_t>(round)],
                          errors[static_cast<std::size_t>(round - 1)]);
            }
            double error = 0;
            const double zero = f16_to_f32(got.zero) + (1 << (bits - 1));
            for (std::size_t i = 0; i < w.size(); ++i) {
                error += std::fabs(w[i] - (codes[i] - zero) * f16_to_f32(got.scale));
            }
            ASSERT_NEAR(got.error, error / 64, 1e-5 * error / 64);
            ASSERT_EQ(got.error, errors[static_cast<std::size_t>(got.rounds - 1)]);
            rounds_together += got.rounds;
            first += errors[0];
            last += got.error;
        }
    }
    EXPECT_GT(rounds_together / 350, 1.5);
    EXPECT_LT(last, 0.99 * first);
}

TEST(Hqq, ItsZerosLoseLessThanThoseOfTheRangeAlone) {
    const std::int64_t out = 64, in = 512;
    const auto values = random_values(3, out * in, 0.05);
    for (const std::string group : {"32", "64", "256"}) {
        for (int bits = 2; bits <= 8; ++bits) {
            const std::string id = "int" + std::to_string(bits) + "-g" + group;
            const auto lost = [&](const std::string& method) {
                Bench bench;
                const auto layer = bench.pack(method, dense_weight("w", out, in, values));
                const auto weight = effective_weight(*layer, out, in);
                double sum = 0;
                for (std::size_t i = 0; i < weight.size(); ++i) {
                    sum += std::fabs(weight[i] - values[i]);
                }
                return sum;
            };
            EXPECT_LT(lost("hqq-" + id), lost(id + "-asym")) << id;
        }
    }
}

TEST(Hqq, AConstantGroupAndAnEmptyRangeKeepTheirWeights) {
    std::vector<float> w(32, 0.25f);
    std::vector<std::uint8_t> codes(w.size());
    for (int bits = 2; bits <= 8; ++bits) {
        const Solution got = solve(w.data(), 32, bits, codes.data());
        const float zero = f16_to_f32(got.zero) + static_cast<float>(1 << (bits - 1));
        EXPECT_NEAR((static_cast<float>(codes[0]) - zero) * f16_to_f32(got.scale), 0.25f, 1e-4f);
    }
    std::ranges::fill(w, 0.0f);
    const Solution none = solve(w.data(), 32, 4, codes.data());
    EXPECT_EQ(none.scale, 0);
    EXPECT_EQ(none.zero, 0);
    EXPECT_EQ(codes[5], 8);
}

}  // namespace
}  // namespace bitsweep::quant::hqq
