#include "worker/metrics/device_window.h"

#include <algorithm>
#include <cstdio>

#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

// NVML means power over about a second (nvmlDeviceGetPowerUsage, Ampere and later).
constexpr double power_mean_s = 1.0;
// Assumed where the counter's own period could not be measured (100 ms on an A100, Zeus,
// arXiv 2208.06102).
constexpr double usual_energy_period_s = 0.1;
constexpr std::size_t least_power_samples = 5;

template <class Get>
std::vector<double> present(const std::vector<DeviceSample>& samples, Get get) {
    std::vector<double> values;
    for (const DeviceSample& sample : samples) {
        if (const auto value = get(sample)) {
            values.push_back(static_cast<double>(*value));
        }
    }
    return values;
}

template <class... Values>
std::string line(const char* format, Values... values) {
    char text[200];
    std::snprintf(text, sizeof text, format, values...);
    return text;
}

void judge_throttling(const DeviceRecord& record, const WindowLimits& limits,
                      WindowVerdict& verdict) {
    std::size_t slowed = 0, all = 0;
    std::uint64_t reasons = 0;
    for (const DeviceSample& sample : record.samples) {
        if (sample.throttle) {
            ++all;
            slowed += slows(*sample.throttle) ? 1 : 0;
            reasons |= slows(*sample.throttle) ? *sample.throttle : 0;
        }
    }
    if (all == 0) {
        return;
    }
    const double share = static_cast<double>(slowed) / static_cast<double>(all);
    verdict.throttled = share > limits.slowed_share;
    if (*verdict.throttled) {
        verdict.findings.push_back(line("throttled in %zu of %zu samples: ", slowed, all) +
                                   throttle_names(reasons));
    }
}

void judge_clocks(const DeviceRecord& record, const WindowLimits& limits, WindowVerdict& verdict) {
    const auto clocks =
        present(record.samples, [](const DeviceSample& sample) { return sample.sm_mhz; });
    if (clocks.size() < 2) {
        return;
    }
    const auto [low, high] = std::minmax_element(clocks.begin(), clocks.end());
    // A moved clock is the usual speed of the card or it is not; both limits ask about one fact.
    verdict.clock_drift = *high > 0 && ((*high - *low) / *high > limits.clock_spread ||
                                        *low / *high < limits.least_clock_share);
    if (*verdict.clock_drift) {
        verdict.findings.push_back(line("SM clock from %.0f to %.0f MHz", *low, *high));
    }
}

void judge_temperature(const DeviceRecord& record, const WindowLimits& limits,
                       WindowVerdict& verdict) {
    const auto temperatures =
        present(record.samples, [](const DeviceSample& sample) { return sample.temperature_c; });
    if (temperatures.size() < 2) {
        return;
    }
    const double moved = temperatures.back() - temperatures.front();
    verdict.temperature_drift = std::max(moved, -moved) > limits.temperature_drift_c;
    if (*verdict.temperature_drift) {
        verdict.findings.push_back(
            line("from %.0f to %.0f C", temperatures.front(), temperatures.back()));
    }
}

void judge_foreign(const DeviceRecord& record, WindowVerdict& verdict) {
    // One reading that saw a stranger is enough; that there is none takes both.
    for (const DeviceSnapshot* state : {&record.before, &record.after}) {
        if (state->foreign && !state->foreign->empty()) {
            const DeviceProcess& first = state->foreign->front();
            verdict.foreign_process = true;
            verdict.findings.push_back(line(
                "%zu other processes on the card, the first is %u with %.0f MiB",
                state->foreign->size(), first.pid, static_cast<double>(first.bytes) / (1 << 20)));
            return;
        }
    }
    if (record.before.foreign && record.after.foreign) {
        verdict.foreign_process = false;
    }
}

Reading<WindowEnergy> energy_of_counter(const DeviceRecord& record) {
    const std::uint64_t before = TRY(record.before.energy_mj);
    const std::uint64_t after = TRY(record.after.energy_mj);
    if (after < before) {
        return make_error(ErrorCode::unavailable,
                          "the card's energy counter went backwards: the driver was reloaded");
    }
    const double period = record.energy_period_s ? *record.energy_period_s : usual_energy_period_s;
    return WindowEnergy{.joules = static_cast<double>(after - before) * 1e-3,
                        .seconds = record.seconds(),
                        .resolution = 2 * period / record.seconds(),
                        .source = line("counter, new every %.3f s%s", period,
                                       record.energy_period_s ? "" : " (assumed)")};
}

Reading<WindowEnergy> energy_of_power(const DeviceRecord& record, const Error& no_counter) {
    const auto power =
        present(record.samples, [](const DeviceSample& sample) { return sample.power_w; });
    if (power.size() < least_power_samples) {
        return no_counter;
    }
    return WindowEnergy{.joules = *mean(power) * record.seconds(),
                        .seconds = record.seconds(),
                        .resolution = 2 * power_mean_s / record.seconds(),
                        .source = "mean of power samples (" + no_counter.message + ")"};
}

double slowed_ns(const Reading<std::uint64_t>& before, const Reading<std::uint64_t>& after) {
    return *after >= *before ? static_cast<double>(*after - *before) : 0;
}

}  // namespace

WindowVerdict judge_window(const DeviceRecord& record, const WindowLimits& limits) {
    WindowVerdict verdict;
    judge_throttling(record, limits, verdict);
    judge_foreign(record, verdict);
    judge_clocks(record, limits, verdict);
    judge_temperature(record, limits, verdict);
    return verdict;
}

Reading<double> slowed_seconds(const DeviceRecord& record) {
    const DeviceSnapshot& before = record.before;
    const DeviceSnapshot& after = record.after;
    if (before.power_slowed_ns && after.power_slowed_ns && before.thermal_slowed_ns &&
        after.thermal_slowed_ns) {
        // The two causes may overlap; their sum is an upper bound, and never more than the window.
        return std::min(record.seconds(),
                        (slowed_ns(before.power_slowed_ns, after.power_slowed_ns) +
                         slowed_ns(before.thermal_slowed_ns, after.thermal_slowed_ns)) *
                            1e-9);
    }
    const auto slowed = present(record.samples, [](const DeviceSample& sample) {
        return sample.throttle ? std::optional<double>(slows(*sample.throttle) ? 1 : 0)
                               : std::nullopt;
    });
    if (slowed.empty()) {
        return before.throttle ? make_error(ErrorCode::unavailable, "the window has no sample")
                               : before.throttle.error();
    }
    return *mean(slowed) * record.seconds();
}

Reading<WindowEnergy> window_energy(const DeviceRecord& record, const WindowLimits& limits) {
    if (record.seconds() <= 0) {
        return not_read();
    }
    Reading<WindowEnergy> energy = energy_of_counter(record);
    if (!energy) {
        energy = energy_of_power(record, energy.error());
    }
    if (energy && energy->resolution > limits.energy_resolution) {
        return make_error(ErrorCode::unavailable,
                          line("the window of %.2f s is too short for the energy (%s): %.1f s or "
                               "more are needed",
                               energy->seconds, energy->source.c_str(),
                               energy->seconds * energy->resolution / limits.energy_resolution));
    }
    return energy;
}

Reading<DeviceMemory> device_memory(const DeviceRecord& record) {
    if (record.after.process_bytes && record.context.process_bytes) {
        return DeviceMemory{*record.after.process_bytes, *record.context.process_bytes,
                            "NVML, this process"};
    }
    if (record.after.used_bytes && record.context.used_bytes &&
        *record.after.used_bytes >= *record.context.used_bytes) {
        return DeviceMemory{*record.after.used_bytes, *record.context.used_bytes,
                            "NVML, all processes of the card"};
    }
    return record.after.process_bytes ? record.context.process_bytes.error()
                                      : record.after.process_bytes.error();
}

}  // namespace bitsweep
