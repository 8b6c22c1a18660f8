#include "results/analysis/median_draws.h"

#include <algorithm>
#include <cmath>

namespace bitsweep {
namespace {

constexpr double least_likely = 1e-15;
// The median of n draws leaves the middle by more than 8 standard deviations, of 1 / (2 sqrt(n))
// each, less often than 1e-15. Draws beside each other are further apart than 40 values less often
// than exp(-40).
constexpr double widest_deviations = 8;
constexpr std::size_t widest_gap = 40;

struct Places {
    std::size_t first, end;
};

// Where the median of n draws may lie.
Places likely_places(std::size_t n) {
    const auto half = static_cast<double>(n) / 2;
    const double reach = widest_deviations * std::sqrt(static_cast<double>(n)) / 2 + 1;
    return {static_cast<std::size_t>(std::max(0.0, half - reach)),
            static_cast<std::size_t>(std::min(static_cast<double>(n), half + reach + 1))};
}

double log_choose(double n, double k) {
    return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

// That at least k of n draws are among the first `count` of n values.
double at_least(std::size_t k, std::size_t n, std::size_t count) {
    if (count == 0 || count >= n) {
        return count == 0 ? 0 : 1;
    }
    const auto all = static_cast<double>(n);
    const double share = static_cast<double>(count) / all;
    const double odds = share / (1 - share);
    double term = std::exp(log_choose(all, static_cast<double>(k)) +
                           static_cast<double>(k) * std::log(share) +
                           static_cast<double>(n - k) * std::log1p(-share));
    double sum = 0;
    // The terms rise to one maximum and fall after it; past it, small ones add nothing.
    for (std::size_t i = k; i <= n; ++i) {
        sum += term;
        if (static_cast<double>(i) > all * share && term < sum * 1e-17) {
            break;
        }
        term *= odds * static_cast<double>(n - i) / static_cast<double>(i + 1);
    }
    return std::min(sum, 1.0);
}

}  // namespace

MedianDraws::MedianDraws(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    if (n == 0) {
        table_.push_back({});
        return;
    }
    const std::size_t middle = n / 2;
    centre_ = std::log(n % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2);
    if (values.front() == values.back()) {
        table_.push_back({.value = centre_});
    } else if (n % 2 == 1) {
        add_odd(values);
    } else {
        add_even(values);
    }
    make_aliases();
}

// The k-th of n = 2 k - 1 draws is the value at `place` where k draws or more are at or below it,
// but not below the one before.
void MedianDraws::add_odd(std::span<const double> sorted) {
    const std::size_t n = sorted.size(), k = (n + 1) / 2;
    const Places places = likely_places(n);
    double below = at_least(k, n, places.first);
    for (std::size_t place = places.first; place < places.end; ++place) {
        const double up_to = at_least(k, n, place + 1);
        add(sorted[place], up_to - below);
        below = up_to;
    }
}

// With n = 2 k draws the median is the mean of the k-th and the next. Both are known where exactly
// k draws are at or below the lower place, one of them on it, and k at or above the upper place,
// one of them on it; else both are on one place.
void MedianDraws::add_even(std::span<const double> sorted) {
    const std::size_t n = sorted.size(), k = n / 2;
    const auto all = static_cast<double>(n), half = static_cast<double>(k);
    const double ways = log_choose(all, half);
    // Logarithm of the chance that k draws have their largest at `place`; by symmetry, their
    // smallest at n - 1 - place.
    const auto ends_at = [&](std::size_t place) {
        const auto at = static_cast<double>(place);
        return half * std::log((at + 1) / all) +
               (place == 0 ? 0 : std::log(-std::expm1(half * std::log(at / (at + 1)))));
    };
    const Places places = likely_places(n);
    std::vector<double> begins_at;
    for (std::size_t place = 0; place < std::min(n, places.end + widest_gap); ++place) {
        begins_at.push_back(place < places.first ? 0 : ends_at(n - 1 - place));
    }
    double below = at_least(k, n, places.first);
    for (std::size_t low = places.first; low < places.end; ++low) {
        const double up_to = at_least(k, n, low + 1), lower = ways + ends_at(low);
        double apart = 0;
        for (std::size_t high = low + 1; high < std::min(n, low + widest_gap); ++high) {
            const double both = std::exp(lower + begins_at[high]);
            add((sorted[low] + sorted[high]) / 2, both);
            apart += both;
        }
        add(sorted[low], up_to - below - apart);
        below = up_to;
    }
}

void MedianDraws::add(double median, double probability) {
    if (probability > least_likely) {
        table_.push_back({.value = std::log(median), .own = probability});
    }
}

void MedianDraws::make_aliases() {
    double total = 0;
    for (const Entry& entry : table_) {
        total += entry.own;
        mean_ += entry.own * entry.value;
    }
    mean_ /= total;
    for (const Entry& entry : table_) {
        variance_ += entry.own / total * (entry.value - mean_) * (entry.value - mean_);
    }
    // Vose, IEEE Transactions on Software Engineering 17(9), 1991.
    std::vector<std::uint32_t> small, large;
    for (std::uint32_t i = 0; i < table_.size(); ++i) {
        table_[i].own *= static_cast<double>(table_.size()) / total;
        table_[i].other = i;
        (table_[i].own < 1 ? small : large).push_back(i);
    }
    while (!small.empty() && !large.empty()) {
        const std::uint32_t less = small.back(), more = large.back();
        small.pop_back();
        table_[less].other = more;
        table_[more].own -= 1 - table_[less].own;
        if (table_[more].own < 1) {
            large.pop_back();
            small.push_back(more);
        }
    }
}

}  // namespace bitsweep
