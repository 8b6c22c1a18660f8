// Order statistics and intervals of small samples. All functions accept an empty span and answer
// nullopt where a number would be invented.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace bitsweep {

// The q-quantile (0 <= q <= 1), interpolated linearly between order statistics (numpy's default,
// type 7 of Hyndman and Fan 1996).
std::optional<double> percentile(std::span<const double> values, double q);
std::optional<double> median(std::span<const double> values);
std::optional<double> mean(std::span<const double> values);
std::optional<double> minimum(std::span<const double> values);

// Median absolute deviation from the median, not scaled.
std::optional<double> median_absolute_deviation(std::span<const double> values);

// Standard deviation over n - 1; needs two values.
std::optional<double> standard_deviation(std::span<const double> values);

// Relative 95 % half-width of the median: t(0.975, n - 1) x sqrt(pi / 2) x s / sqrt(n) / median,
// the large-sample standard error of a normal sample's median with Student's quantile for small n.
// Needs two values and a positive median.
std::optional<double> relative_half_width(std::span<const double> values);

// Standard deviation over mean; needs two values and a positive mean.
std::optional<double> coefficient_of_variation(std::span<const double> values);

// Autocorrelation at lag 1 over several runs: pairs never span two runs, the mean is common.
// Needs two values in some run and a variance above 0.
std::optional<double> lag1(std::span<const std::vector<double>> runs);

// Student's t quantile at 0.975.
double student_t_975(int degrees_of_freedom);

}  // namespace bitsweep
