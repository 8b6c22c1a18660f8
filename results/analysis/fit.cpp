#include "results/analysis/fit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "schemas/status.h"

namespace bitsweep {
namespace {

constexpr std::size_t most_columns = 5;

struct System {
    Eigen::MatrixXd columns;
    Eigen::VectorXd values;
};

// Weighted; only the columns whose bit is set in `support`.
System system_of(std::span<const Observation> data, unsigned support) {
    const auto rows = static_cast<Eigen::Index>(data.size());
    const auto width = static_cast<std::size_t>(__builtin_popcount(support));
    System system{Eigen::MatrixXd(rows, static_cast<Eigen::Index>(width)), Eigen::VectorXd(rows)};
    for (Eigen::Index i = 0; i < rows; ++i) {
        const Observation& one = data[static_cast<std::size_t>(i)];
        Eigen::Index column = 0;
        for (std::size_t j = 0; j < one.x.size(); ++j) {
            if ((support >> j & 1) != 0) {
                system.columns(i, column++) = one.x[j] * one.weight;
            }
        }
        system.values(i) = one.y * one.weight;
    }
    return system;
}

struct Solution {
    std::vector<double> coefficients;  // 0 outside the support
    double squares = 0;
};

std::optional<Solution> solve(std::span<const Observation> data, unsigned support) {
    System system = system_of(data, support);
    // Columns of very different size (1 and 1e9 bytes) would spoil the rank decision.
    const Eigen::VectorXd lengths = system.columns.colwise().norm();
    if (!lengths.allFinite() || (lengths.array() <= 0).any()) {
        return std::nullopt;
    }
    system.columns.array().rowwise() /= lengths.transpose().array();
    const Eigen::ColPivHouseholderQR<Eigen::MatrixXd> qr(system.columns);
    if (qr.rank() < system.columns.cols()) {
        return std::nullopt;
    }
    const Eigen::VectorXd scaled = qr.solve(system.values);
    if (!scaled.allFinite()) {
        return std::nullopt;
    }
    Solution solution{std::vector<double>(data.front().x.size(), 0),
                      (system.values - system.columns * scaled).squaredNorm()};
    Eigen::Index column = 0;
    for (std::size_t j = 0; j < solution.coefficients.size(); ++j) {
        if ((support >> j & 1) != 0) {
            solution.coefficients[j] = scaled(column) / lengths(column);
            ++column;
        }
    }
    return solution;
}

}  // namespace

std::optional<std::vector<double>> least_squares(std::span<const Observation> data, Sign sign) {
    if (data.empty() || data.front().x.empty() || data.size() < data.front().x.size()) {
        return std::nullopt;
    }
    const std::size_t width = data.front().x.size();
    ASSERT(width <= most_columns);
    const unsigned full = (1u << width) - 1;
    if (sign == Sign::free) {
        const auto solution = solve(data, full);
        return solution ? std::optional(solution->coefficients) : std::nullopt;
    }
    std::optional<Solution> best;
    for (unsigned support = 1; support <= full; ++support) {
        auto solution = solve(data, support);
        if (!solution) {
            continue;
        }
        const bool allowed =
            std::all_of(solution->coefficients.begin(), solution->coefficients.end(),
                        [](double value) { return value >= 0; });
        if (allowed && (!best || solution->squares < best->squares)) {
            best = std::move(solution);
        }
    }
    return best ? std::optional(best->coefficients) : std::nullopt;
}

double predict(std::span<const double> x, std::span<const double> coefficients) {
    ASSERT(x.size() == coefficients.size());
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        sum += x[i] * coefficients[i];
    }
    return sum;
}

double condition_number(std::span<const Observation> data) {
    if (data.empty()) {
        return std::nan("");
    }
    System system = system_of(data, (1u << data.front().x.size()) - 1);
    for (Eigen::Index j = 0; j < system.columns.cols(); ++j) {
        system.columns.col(j).normalize();
    }
    const Eigen::VectorXd values = system.columns.jacobiSvd().singularValues();
    return values(0) / values(values.size() - 1);
}

std::vector<double> standard_errors(std::span<const Observation> data,
                                    std::span<const double> coefficients) {
    const std::size_t width = coefficients.size();
    if (data.size() <= width) {
        return {};
    }
    const System system = system_of(data, (1u << width) - 1);
    const Eigen::VectorXd fitted =
        system.columns *
        Eigen::Map<const Eigen::VectorXd>(coefficients.data(), static_cast<Eigen::Index>(width));
    const double variance =
        (system.values - fitted).squaredNorm() / static_cast<double>(data.size() - width);
    const Eigen::MatrixXd inverse = (system.columns.transpose() * system.columns).inverse();
    std::vector<double> errors;
    for (std::size_t j = 0; j < width; ++j) {
        const auto index = static_cast<Eigen::Index>(j);
        errors.push_back(std::sqrt(variance * inverse(index, index)));
    }
    return errors;
}

}  // namespace bitsweep
