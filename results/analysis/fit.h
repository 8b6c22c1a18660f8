// Least squares for the few-parameter models of the scaling analysis.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace bitsweep {

enum class Sign { free, non_negative };

// One observation: the value, the columns it depends on, and its weight (1 / standard deviation).
struct Observation {
    std::vector<double> x;
    double y = 0;
    double weight = 1;
};

// Minimises the sum of (weight (y - x c))^2 (QR with column pivoting, Eigen). With non_negative the
// best of all supports is taken: exact, and cheap for the at most 5 columns that are allowed. No
// value where the columns do not determine the coefficients.
std::optional<std::vector<double>> least_squares(std::span<const Observation> data, Sign sign);

double predict(std::span<const double> x, std::span<const double> coefficients);

// Ratio of the largest to the smallest singular value of the weighted columns, each scaled to
// length 1. Above about 30 the columns grow together and their coefficients trade against each
// other (Belsley, Kuh and Welsch, "Regression Diagnostics", 1980).
double condition_number(std::span<const Observation> data);

// Standard errors of free coefficients from the residuals; empty without a degree of freedom.
std::vector<double> standard_errors(std::span<const Observation> data,
                                    std::span<const double> coefficients);

}  // namespace bitsweep
