// Whether a run may stand in a headline. What disturbs a measurement is kept and flagged, never
// deleted: `bitsweep query` still shows it.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace bitsweep {

// Why the run is left out of intervals and fits, or "". The signs, each absent where the device
// cannot tell:
//   window_*                 the worker's own verdict on the measured window, above 0:
//                            window_throttled, window_foreign_process, window_clock_drift,
//                            window_temperature_drift (worker/metrics/device_window.cpp)
//   foreign_processes        processes of others on the device, above 0
//   a drift of its own rates: the line through the run's sequences (Theil and Sen's median slope)
//                            moves by more than 5 % from the first to the last, and at least 8
//                            sequences agree on the direction at the 0.1 % level (Mann and Kendall)
std::string why_invalid(const std::map<std::string, double>& metrics,
                        std::span<const double> decode_rates);

// Fewer values show no trend.
inline constexpr std::size_t least_for_drift = 8;

// Relative change over the run by the median of all pairwise slopes, and how sure its direction is.
struct Drift {
    double change = 0;   // of the last over the first, - 1
    double p_value = 1;  // two-sided, normal approximation; 1 below 8 values
};
Drift drift_of(std::span<const double> values);

}  // namespace bitsweep
