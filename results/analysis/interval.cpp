#include "results/analysis/interval.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Abramowitz and Stegun, table 26.10, to three decimals; 1 to 30 degrees of freedom.
constexpr std::array t_975 = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                              2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                              2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                              2.060,  2.056, 2.052, 2.048, 2.045, 2.042};

}  // namespace

double median(std::span<const double> values) {
    if (values.empty()) {
        return nan;
    }
    std::vector<double> sorted(values.begin(), values.end());
    std::sort(sorted.begin(), sorted.end());
    const std::size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double t_quantile_975(int degrees_of_freedom) {
    if (degrees_of_freedom < 1) {
        return nan;
    }
    if (degrees_of_freedom <= static_cast<int>(t_975.size())) {
        return t_975[static_cast<std::size_t>(degrees_of_freedom) - 1];
    }
    // Abramowitz and Stegun 26.7.5, first two terms: below 0.001 of error from 30 on.
    const double z = 1.959964;
    const double n = degrees_of_freedom;
    return z + (std::pow(z, 3) + z) / (4 * n) +
           (5 * std::pow(z, 5) + 16 * std::pow(z, 3) + 3 * z) / (96 * n * n);
}

Interval log_t_interval(std::span<const double> values) {
    const auto usable = [](double value) { return std::isfinite(value) && value > 0; };
    if (values.empty() || !std::all_of(values.begin(), values.end(), usable)) {
        return {nan, nan, nan};
    }
    const auto n = static_cast<double>(values.size());
    double mean = 0;
    for (const double value : values) {
        mean += std::log(value) / n;
    }
    if (values.size() == 1) {
        return {values[0], nan, nan};
    }
    double squares = 0;
    for (const double value : values) {
        squares += (std::log(value) - mean) * (std::log(value) - mean);
    }
    const double error = std::sqrt(squares / (n - 1) / n);
    const double half = t_quantile_975(static_cast<int>(values.size()) - 1) * error;
    return {std::exp(mean), std::exp(mean - half), std::exp(mean + half)};
}

}  // namespace bitsweep
