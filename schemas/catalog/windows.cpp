#include "schemas/catalog/windows.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {
namespace {

constexpr std::size_t most_for_drift = 400;  // 80,000 slopes; later values say no more
constexpr double largest_drift = 0.05;
constexpr double drift_level = 0.001;

constexpr WindowFlag flags[] = {
    {"window_throttled", "throttled"},
    {"window_foreign_process", "another process used the device"},
    {"foreign_processes", "another process used the device"},
    {"window_foreign_load", "other processes used its cores"},
    {"window_clock_drift", "the clock moved"},
    {"window_temperature_drift", "the temperature moved"},
    {sentinel_drift_metric, "the sentinels around it differ"},
    {rate_drift_metric, "its rate drifted"},
};

double value_or_zero(const std::map<std::string, double>& metrics, const std::string& name) {
    const auto found = metrics.find(name);
    return found == metrics.end() || std::isnan(found->second) ? 0 : found->second;
}

double median_of(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return values.size() % 2 == 1 ? *middle
                                  : (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace

WindowPolicy window_policy(Protocol protocol) {
    switch (protocol) {
        case Protocol::seed_report:
            return {0, 0};  // as the seed did
        case Protocol::quick:
            return {1, 0};
        case Protocol::standard:
            return {2, 0};
        case Protocol::headline:
            return {3, 10};
    }
    ASSERT(false);
}

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
    const double half_rise = median_of(std::move(slopes)) * (n - 1) / 2;
    const double middle = median_of({values.begin(), values.end()});
    return {(middle + half_rise) / (middle - half_rise) - 1, std::erfc(z / std::sqrt(2.0))};
}

bool is_drift(const Drift& drift) {
    return std::fabs(drift.change) > largest_drift && drift.p_value < drift_level;
}

std::span<const WindowFlag> window_flags() {
    return flags;
}

std::string window_flags_sql() {
    std::string names;
    for (const WindowFlag& flag : flags) {
        names += (names.empty() ? "'" : ", '") + std::string(flag.metric) + "'";
    }
    return names;
}

std::string is_flagged_sql(std::string_view run) {
    return "EXISTS (SELECT 1 FROM measurements w WHERE w.run = " + std::string(run) +
           " AND w.sample = 0 AND w.value > 0 AND w.metric IN (" + window_flags_sql() + "))";
}

std::string why_invalid(const std::map<std::string, double>& metrics,
                        std::span<const double> decode_rates) {
    std::string_view drifted;
    for (const WindowFlag& flag : flags) {
        if (!metrics.empty() && value_or_zero(metrics, std::string(flag.metric)) > 0) {
            if (flag.metric != rate_drift_metric) {
                return std::string(flag.reason);
            }
            drifted = flag.reason;
        }
    }
    // The rates say more about their drift than the flag that was raised over it.
    const Drift drift = drift_of(decode_rates);
    if (is_drift(drift)) {
        char words[64];
        std::snprintf(words, sizeof words, "drift (its rate moved by %.1f %% from first to last)",
                      100 * drift.change);
        return words;
    }
    return std::string(drifted);
}

std::string why_invalid(const RunResult& result) {
    // Most results raise no flag.
    std::map<std::string, double> metrics;
    const auto is_flag = [](const Measurement& measured) {
        return std::any_of(std::begin(flags), std::end(flags),
                           [&](const WindowFlag& flag) { return flag.metric == measured.metric; });
    };
    for (const Measurement& measured : result.measurements) {
        if (measured.sample == 0 && is_flag(measured)) {
            metrics.emplace(measured.metric, measured.value);
        }
    }
    const auto rates = std::find_if(result.samples.begin(), result.samples.end(),
                                    [](const auto& s) { return s.metric == "decode_rate"; });
    return why_invalid(metrics, rates == result.samples.end() ? std::span<const double>{}
                                                              : std::span(rates->values));
}

double rate_of(const RunResult& result) {
    double rate = std::numeric_limits<double>::quiet_NaN();
    for (const Measurement& measured : result.measurements) {
        if (measured.sample != 0 || !(measured.value > 0)) {
            continue;
        }
        if (measured.metric == "decode_tokens_per_s") {
            return measured.value;
        }
        rate = measured.metric == "prefill_tokens_per_s" ? measured.value : rate;
    }
    return rate;
}

}  // namespace bitsweep
