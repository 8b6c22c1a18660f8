#include "worker/metrics/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace bitsweep {

std::optional<double> percentile(std::span<const double> values, double q) {
    if (values.empty()) {
        return std::nullopt;
    }
    std::vector<double> sorted(values.begin(), values.end());
    std::sort(sorted.begin(), sorted.end());
    const double position = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    const double fraction = position - static_cast<double>(below);
    return sorted[below] + fraction * (sorted[above] - sorted[below]);
}

std::optional<double> median(std::span<const double> values) {
    return percentile(values, 0.5);
}

std::optional<double> mean(std::span<const double> values) {
    if (values.empty()) {
        return std::nullopt;
    }
    double sum = 0;
    for (const double value : values) {
        sum += value;
    }
    return sum / static_cast<double>(values.size());
}

std::optional<double> minimum(std::span<const double> values) {
    if (values.empty()) {
        return std::nullopt;
    }
    return *std::min_element(values.begin(), values.end());
}

std::optional<double> median_absolute_deviation(std::span<const double> values) {
    const auto center = median(values);
    if (!center) {
        return std::nullopt;
    }
    std::vector<double> distances;
    distances.reserve(values.size());
    for (const double value : values) {
        distances.push_back(std::abs(value - *center));
    }
    return median(distances);
}

std::optional<double> standard_deviation(std::span<const double> values) {
    if (values.size() < 2) {
        return std::nullopt;
    }
    const double center = *mean(values);
    double squares = 0;
    for (const double value : values) {
        squares += (value - center) * (value - center);
    }
    return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

std::optional<double> relative_half_width(std::span<const double> values) {
    const auto deviation = standard_deviation(values);
    const auto center = median(values);
    if (!deviation || !center || *center <= 0) {
        return std::nullopt;
    }
    const double n = static_cast<double>(values.size());
    const double t = student_t_975(static_cast<int>(values.size()) - 1);
    return t * std::sqrt(std::numbers::pi / 2) * *deviation / std::sqrt(n) / *center;
}

std::optional<double> coefficient_of_variation(std::span<const double> values) {
    const auto deviation = standard_deviation(values);
    const auto center = mean(values);
    if (!deviation || !center || *center <= 0) {
        return std::nullopt;
    }
    return *deviation / *center;
}

std::optional<double> lag1(std::span<const std::vector<double>> runs) {
    double sum = 0;
    double count = 0;
    for (const auto& run : runs) {
        for (const double value : run) {
            sum += value;
            count += 1;
        }
    }
    if (count < 2) {
        return std::nullopt;
    }
    const double center = sum / count;
    double squares = 0;
    double products = 0;
    double pairs = 0;
    for (const auto& run : runs) {
        for (std::size_t i = 0; i < run.size(); ++i) {
            squares += (run[i] - center) * (run[i] - center);
            if (i + 1 < run.size()) {
                products += (run[i] - center) * (run[i + 1] - center);
                pairs += 1;
            }
        }
    }
    if (squares <= 0 || pairs < 1) {
        return std::nullopt;
    }
    return products / squares;
}

double student_t_975(int degrees_of_freedom) {
    static constexpr std::array<double, 30> table = {
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
        2.2010,  2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
        2.0796,  2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
    if (degrees_of_freedom < 1) {
        return table.front();
    }
    if (degrees_of_freedom <= static_cast<int>(table.size())) {
        return table[static_cast<std::size_t>(degrees_of_freedom - 1)];
    }
    // Cornish-Fisher expansion around the normal quantile (Abramowitz and Stegun 26.7.5), two
    // terms.
    const double z = 1.959964;
    const double v = degrees_of_freedom;
    return z + (z * z * z + z) / (4 * v) +
           (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * v * v);
}

}  // namespace bitsweep
