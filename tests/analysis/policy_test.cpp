// The search over policies against every policy there is.
#include "results/analysis/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace bitsweep {
namespace {

std::vector<PolicyLayer> random_layers(std::mt19937_64& random, int layers, int options) {
    std::vector<PolicyLayer> made;
    for (int i = 0; i < layers; ++i) {
        PolicyLayer layer{"layer." + std::to_string(i), {}};
        for (int k = 0; k < options; ++k) {
            layer.options.push_back({"m" + std::to_string(k),
                                     static_cast<double>(random() % 1000) / 1000,
                                     static_cast<double>(1 + random() % 50)});
        }
        made.push_back(std::move(layer));
    }
    return made;
}

// Least loss within the budget by trying every choice; infinity where nothing fits.
double brute_force(const std::vector<PolicyLayer>& layers, std::size_t at, double budget) {
    if (budget < 0) {
        return std::numeric_limits<double>::infinity();
    }
    if (at == layers.size()) {
        return 0;
    }
    double best = std::numeric_limits<double>::infinity();
    for (const LayerOption& option : layers[at].options) {
        best = std::min(best, option.kl + brute_force(layers, at + 1, budget - option.cost));
    }
    return best;
}

TEST(Policy, searchFindsWhatTryingEveryPolicyFinds) {
    std::mt19937_64 random(7);
    int impossible = 0;
    for (int round = 0; round < 200; ++round) {
        const auto layers = random_layers(random, 1 + static_cast<int>(random() % 5), 4);
        const auto budget = static_cast<double>(1 + random() % 160);
        const double best = brute_force(layers, 0, budget);
        const auto found = choose_policy(layers, budget, static_cast<int>(budget));
        if (std::isinf(best)) {
            ++impossible;
            ASSERT_FALSE(found.ok());
            EXPECT_EQ(found.error().code, ErrorCode::not_found);
            continue;
        }
        ASSERT_TRUE(found.ok()) << found.error().message;
        EXPECT_NEAR(found->kl, best, 1e-12);
        EXPECT_LE(found->cost, budget);
    }
    EXPECT_GT(impossible, 5);
    EXPECT_LT(impossible, 150);
}

TEST(Policy, roundedCostsNeverExceedTheBudgetAndLoseLittle) {
    std::mt19937_64 random(11);
    for (int round = 0; round < 50; ++round) {
        auto layers = random_layers(random, 5, 4);
        for (PolicyLayer& layer : layers) {
            for (LayerOption& option : layer.options) {
                option.cost *= 0.7312;
            }
        }
        const double budget = 80;
        const auto found = choose_policy(layers, budget, 10'000);
        if (!found.ok()) {
            continue;
        }
        EXPECT_LE(found->cost, budget);
        EXPECT_GE(found->kl, brute_force(layers, 0, budget) - 1e-12);
        EXPECT_LE(found->kl, brute_force(layers, 0, budget * (1 - 5.0 / 10'000)) + 1e-12);
    }
}

TEST(Policy, aRandomPolicyIsTheSameForTheSameSeedOnly) {
    std::mt19937_64 random(3);
    const auto layers = random_layers(random, 20, 5);
    EXPECT_EQ(random_policy(layers, 1).option, random_policy(layers, 1).option);
    EXPECT_NE(random_policy(layers, 1).option, random_policy(layers, 2).option);
}

TEST(Policy, rankCorrelationKnowsOrderAndTies) {
    const std::vector<double> a{1, 2, 3, 4};
    const std::vector<double> same{10, 20, 30, 400};
    const std::vector<double> back{4, 3, 2, 1};
    const std::vector<double> ties{1, 1, 2, 2};
    EXPECT_NEAR(rank_correlation(a, same), 1, 1e-12);
    EXPECT_NEAR(rank_correlation(a, back), -1, 1e-12);
    EXPECT_NEAR(rank_correlation(a, ties), 0.894427, 1e-6);  // scipy.stats.spearmanr
    EXPECT_TRUE(std::isnan(rank_correlation(std::vector<double>{1, 2}, std::vector<double>{1, 2})));
}

}  // namespace
}  // namespace bitsweep
