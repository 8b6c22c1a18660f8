// When a measured window counts, and what a protocol does about one that does not. What disturbs a
// measurement is kept and flagged, never deleted: `bitsweep query` still shows it.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "schemas/job.h"
#include "schemas/run_result.h"

namespace bitsweep {

// Two columns of matrix.md's table of protocols.
struct WindowPolicy {
    int again = 0;           // so often a cell is measured again whose window did not count
    int sentinel_every = 0;  // jobs on one device between two sentinels; 0: none
};
WindowPolicy window_policy(Protocol protocol);

// Verdicts of the coordinator, as measurements of the run that they are about (unit 1, value 1).
inline constexpr std::string_view rate_drift_metric = "window_rate_drift";
inline constexpr std::string_view sentinel_drift_metric = "window_sentinel_drift";

// A window between two sentinels of which the later one is faster or slower by more than this does
// not count. As much as a run's own rates may move (below).
inline constexpr double largest_sentinel_drift = 0.05;

// Why the run is left out of intervals and fits, or "". The signs, each absent where the device
// cannot tell:
//   window_*                 a verdict on the measured window, above 0: window_throttled,
//                            window_foreign_process, window_clock_drift, window_temperature_drift
//                            (worker/metrics/device_window.cpp), window_rate_drift,
//                            window_sentinel_drift (coordinator/scheduler)
//                            window_foreign_load (worker/metrics/run_queue.cpp)
//   foreign_processes        processes of others on the device, above 0
//   a drift of its own rates: the line through the run's sequences (Theil and Sen's median slope)
//                            moves by more than 5 % from the first to the last, and at least 8
//                            sequences agree on the direction at the 0.1 % level (Mann and Kendall)
std::string why_invalid(const std::map<std::string, double>& metrics,
                        std::span<const double> decode_rates);
std::string why_invalid(const RunResult& result);

// A measurement that says, above 0, that the window does not count, and in which words.
struct WindowFlag {
    std::string_view metric, reason;
};
// All of them: what asks a database whether a run counts asks for these.
std::span<const WindowFlag> window_flags();
// "'window_throttled', 'window_foreign_process', ...": for `metric IN (...)`.
std::string window_flags_sql();
// Whether a run's window has one of them, as a condition: `run` is an expression of SQL that names
// the run's id, as "r.id".
std::string is_flagged_sql(std::string_view run);

// What a sentinel compares: the median rate of decoding, or of reading the prompt where nothing is
// decoded. NaN: the run says neither.
double rate_of(const RunResult& result);

// Fewer values show no trend.
inline constexpr std::size_t least_for_drift = 8;

// Relative change over the run by the median of all pairwise slopes, and how sure its direction is.
struct Drift {
    double change = 0;   // of the last over the first, - 1
    double p_value = 1;  // two-sided, normal approximation; 1 below 8 values
};
Drift drift_of(std::span<const double> values);
bool is_drift(const Drift& drift);  // beyond both limits

}  // namespace bitsweep
