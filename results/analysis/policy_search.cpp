// The search over policies: pure, no database.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "results/analysis/policy.h"

namespace bitsweep {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

// Whole steps of a cost, rounded up. A cost that is a whole step but for rounding stays one.
std::int64_t steps_of(double cost, double step) {
    return static_cast<std::int64_t>(std::ceil(cost / step - 1e-9));
}

PolicyChoice total_of(std::span<const PolicyLayer> layers, std::vector<std::size_t> option) {
    PolicyChoice choice;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        choice.kl += layers[i].options[option[i]].kl;
        choice.cost += layers[i].options[option[i]].cost;
    }
    choice.option = std::move(option);
    return choice;
}

std::vector<double> ranks_of(std::span<const double> values) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
    std::vector<double> ranks(values.size());
    for (std::size_t i = 0; i < order.size();) {
        std::size_t end = i;
        while (end < order.size() && values[order[end]] == values[order[i]]) {
            ++end;
        }
        for (std::size_t k = i; k < end; ++k) {
            ranks[order[k]] = static_cast<double>(i + end - 1) / 2;
        }
        i = end;
    }
    return ranks;
}

}  // namespace

double least_cost(std::span<const PolicyLayer> layers) {
    double sum = 0;
    for (const PolicyLayer& layer : layers) {
        double least = never;
        for (const LayerOption& option : layer.options) {
            least = std::min(least, option.cost);
        }
        sum += least;
    }
    return sum;
}

Result<PolicyChoice> choose_policy(std::span<const PolicyLayer> layers, double budget, int steps) {
    ASSERT(steps > 0);
    const auto cannot = [&] {
        return make_error(ErrorCode::not_found,
                          "no policy costs at most " + std::to_string(budget) +
                              "; the cheapest costs " + std::to_string(least_cost(layers)));
    };
    if (!(budget > 0)) {
        return cannot();
    }
    const double step = budget / steps;
    const auto states = static_cast<std::size_t>(steps) + 1;
    // best[s]: least loss of the layers so far that cost at most s steps.
    std::vector<double> best(states, 0.0);
    std::vector<std::vector<std::uint16_t>> taken;
    for (const PolicyLayer& layer : layers) {
        std::vector<double> next(states, never);
        std::vector<std::uint16_t> chosen(states, 0);
        for (std::size_t k = 0; k < layer.options.size(); ++k) {
            const std::int64_t cost = steps_of(layer.options[k].cost, step);
            for (auto s = static_cast<std::size_t>(cost); cost <= steps && s < states; ++s) {
                const double loss = best[s - static_cast<std::size_t>(cost)] + layer.options[k].kl;
                if (loss < next[s]) {
                    next[s] = loss;
                    chosen[s] = static_cast<std::uint16_t>(k);
                }
            }
        }
        best = std::move(next);
        taken.push_back(std::move(chosen));
    }
    std::size_t at = states - 1;
    if (best[at] == never) {
        return cannot();
    }
    std::vector<std::size_t> option(layers.size());
    for (std::size_t i = layers.size(); i-- > 0;) {
        option[i] = taken[i][at];
        at -= static_cast<std::size_t>(steps_of(layers[i].options[option[i]].cost, step));
    }
    return total_of(layers, std::move(option));
}

PolicyChoice random_policy(std::span<const PolicyLayer> layers, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::size_t> option;
    for (const PolicyLayer& layer : layers) {
        option.push_back(random() % layer.options.size());
    }
    return total_of(layers, std::move(option));
}

double rank_correlation(std::span<const double> a, std::span<const double> b) {
    ASSERT(a.size() == b.size());
    if (a.size() < 3) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    const std::vector<double> x = ranks_of(a);
    const std::vector<double> y = ranks_of(b);
    const double middle = static_cast<double>(a.size() - 1) / 2;
    double xy = 0;
    double xx = 0;
    double yy = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        xy += (x[i] - middle) * (y[i] - middle);
        xx += (x[i] - middle) * (x[i] - middle);
        yy += (y[i] - middle) * (y[i] - middle);
    }
    return xy / std::sqrt(xx * yy);
}

}  // namespace bitsweep
