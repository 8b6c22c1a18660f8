#include "results/analysis/comparisons.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitsweep {

std::vector<HolmStep> holm(std::span<const double> p_values, double level) {
    std::vector<std::size_t> order(p_values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::erase_if(order, [&](std::size_t i) { return std::isnan(p_values[i]); });
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
    std::vector<HolmStep> steps(p_values.size(), {std::nan(""), 1 - level});
    double largest = 0;
    for (std::size_t rank = 0; rank < order.size(); ++rank) {
        const auto remaining = static_cast<double>(order.size() - rank);
        largest = std::max(largest, std::min(1.0, p_values[order[rank]] * remaining));
        steps[order[rank]] = {largest, 1 - level / remaining};
    }
    return steps;
}

double unseen_rate_bound(std::int64_t trials, double confidence) {
    if (trials <= 0) {
        return 1;
    }
    return -std::expm1(std::log1p(-confidence) / static_cast<double>(trials));
}

}  // namespace bitsweep
