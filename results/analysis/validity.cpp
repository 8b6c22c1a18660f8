#include "results/analysis/validity.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "results/analysis/interval.h"
#include "results/analysis/number_text.h"

namespace bitsweep {
namespace {

constexpr std::size_t most_for_drift = 400;  // 80,000 slopes; later values say no more
constexpr double largest_drift = 0.05;
constexpr double drift_level = 0.001;

struct WindowVerdict {
    std::string_view metric, reason;
};
constexpr WindowVerdict verdicts[] = {
    {"window_throttled", "throttled"},
    {"window_foreign_process", "another process used the device"},
    {"foreign_processes", "another process used the device"},
    {"window_clock_drift", "the clock moved"},
    {"window_temperature_drift", "the temperature moved"},
};

double value_or_zero(const std::map<std::string, double>& metrics, const std::string& name) {
    const auto found = metrics.find(name);
    return found == metrics.end() || std::isnan(found->second) ? 0 : found->second;
}

std::string percent(double share) {
    return significant(100 * share, 2) + " %";
}

}  // namespace

Drift drift_of(std::span<const double> values) {
    values = values.first(std::min(values.size(), most_for_drift));
    if (values.size() < least_for_drift) {
        return {};
    }
    std::vector<double> slopes;
    double concordant = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        for (std::size_t j = i + 1; j < values.size(); ++j) {
            const double rise = values[j] - values[i];
            slopes.push_back(rise / static_cast<double>(j - i));
            concordant += rise > 0 ? 1 : rise < 0 ? -1 : 0;
        }
    }
    const auto n = static_cast<double>(values.size());
    const double deviation = std::sqrt(n * (n - 1) * (2 * n + 5) / 18);
    const double z = std::max(0.0, std::fabs(concordant) - 1) / deviation;
    // The line goes through the median at the middle of the run.
    const double half_rise = median(slopes) * (n - 1) / 2;
    const double middle = median(values);
    return {(middle + half_rise) / (middle - half_rise) - 1, std::erfc(z / std::sqrt(2.0))};
}

std::string why_invalid(const std::map<std::string, double>& metrics,
                        std::span<const double> decode_rates) {
    for (const auto& [metric, reason] : verdicts) {
        if (value_or_zero(metrics, std::string(metric)) > 0) {
            return std::string(reason);
        }
    }
    const Drift drift = drift_of(decode_rates);
    if (std::fabs(drift.change) > largest_drift && drift.p_value < drift_level) {
        return "drift (its rate moved by " + percent(drift.change) + " from first to last)";
    }
    return "";
}

}  // namespace bitsweep
