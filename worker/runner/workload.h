// The measurement protocols: how much warm-up, how many sequences, when to stop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "schemas/job.h"
#include "schemas/status.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

// One row of the protocol table.
struct SamplingRule {
    int warmup = 1;              // full sequences; with steady_warmup: at most this many
    bool steady_warmup = false;  // until the coefficient of variation of the last 5 is < 1 %
    bool steady_heat = false;    // and until the device's temperature moves by < 1 C in 30 s
    int least_sequences = 1;     // at least this many ...
    double least_seconds = 0;    // ... or this long, if above 0
    int most_sequences = 1;      // 0: no limit
    double half_width = 0;       // stop at this relative 95 % half-width of the median; 0: never
    double budget_s = 0;         // or after this long; also bounds a steady warm-up. 0: no limit
};

SamplingRule sampling_rule(Protocol protocol, int warmup);

// Why sampling ends now: "half-width", "budget", "fixed" (all sequences of the protocol taken), or
// nullopt: go on. `rates` are those of the sequences so far, `elapsed_s` since the first began.
std::optional<std::string> why_stop(const SamplingRule& rule, std::span<const double> rates,
                                    double elapsed_s);

// Whether a warm-up may end: `rates` of the warm-up sequences so far.
bool warm(const SamplingRule& rule, std::span<const double> rates, double elapsed_s);

// The device's temperature after a sequence of the warm-up.
struct HeatReading {
    double at_s = 0, celsius = 0;
};

// Whether the readings of the last 30 s (or more, where sequences are longer) lie on a line that
// rises or falls by less than 1 C in 30 s. False before they span 30 s.
bool heat_is_steady(std::span<const HeatReading> readings);

// Reads the temperature now; nullopt: it cannot be read, and the rule is dropped.
using Thermometer = std::function<std::optional<double>()>;

struct WorkloadResult {
    Trace trace;                        // warmup, sequences and stop_reason are filled
    std::vector<std::int32_t> new_ids;  // of the last sequence
    bool same_text = true;              // every measured sequence chose the same tokens
    std::string heat;  // how the warm-up ended by temperature: "steady", "still moving", "not read"
};

// Runs `sequence` by the rule; calls `warmed` (may be empty) between the warm-up and the first
// measured sequence. `thermometer` (may be empty: nothing warms up) is asked after each warm-up
// sequence of a rule with steady_heat, whose warm-up is bounded by the budget. Errors are the
// sequence's.
Result<WorkloadResult> run_workload(const SamplingRule& rule,
                                    const std::function<Result<Sequence>()>& sequence,
                                    const Progress& progress,
                                    const std::function<void()>& warmed = {},
                                    const Thermometer& thermometer = {});

}  // namespace bitsweep
