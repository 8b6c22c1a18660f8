#include "worker/runner/workload.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

constexpr int steady_window = 5;
constexpr double steady_variation = 0.01;
constexpr int most_warmup = 20;
constexpr double heat_window_s = 30, steady_heat_c = 1;

// Decode rate of a sequence, or its prefill rate when nothing was decoded: what the stop rule
// looks at.
double rate_of(const SequenceTrace& trace) {
    const double tokens = trace.token_ns.empty() ? static_cast<double>(trace.prompt_tokens)
                                                 : static_cast<double>(trace.token_ns.size());
    const std::int64_t ns = trace.token_ns.empty() ? trace.prefill_ns : decode_time_ns(trace);
    return tokens / static_cast<double>(std::max<std::int64_t>(ns, 1)) * 1e9;
}

double seconds_since(std::int64_t start_ns) {
    return static_cast<double>(monotonic_ns() - start_ns) / 1e9;
}

// What the temperature says of a warm-up.
class HeatRule {
 public:
    HeatRule(const SamplingRule& rule, const Thermometer& thermometer)
        : rule_(rule), thermometer_(thermometer) {}

    void note(double at_s) {
        if (!rule_.steady_heat || !thermometer_ || lost_) {
            return;
        }
        const std::optional<double> celsius = thermometer_();
        lost_ = !celsius;
        if (celsius) {
            readings_.push_back({at_s, *celsius});
        }
    }
    bool asks_for_more(double elapsed_s) const {
        return rule_.steady_heat && thermometer_ && !lost_ && elapsed_s < rule_.budget_s &&
               !heat_is_steady(readings_);
    }
    std::string verdict() const {
        return !rule_.steady_heat || !thermometer_ ? ""
               : lost_                             ? "not read"
               : heat_is_steady(readings_)         ? "steady"
                                                   : "still moving";
    }

 private:
    const SamplingRule& rule_;
    const Thermometer& thermometer_;
    std::vector<HeatReading> readings_;
    bool lost_ = false;
};

}  // namespace

SamplingRule sampling_rule(Protocol protocol, int warmup) {
    switch (protocol) {
        case Protocol::seed_report:
            return {.warmup = warmup, .least_sequences = 1, .most_sequences = 1};
        case Protocol::quick:
            return {.warmup = warmup,
                    .least_sequences = 3,
                    .most_sequences = 10,
                    .half_width = 0.03,
                    .budget_s = 5};
        case Protocol::standard:
            return {.warmup = most_warmup,
                    .steady_warmup = true,
                    .least_sequences = 10,
                    .least_seconds = 5,
                    .most_sequences = 0,
                    .half_width = 0.01,
                    .budget_s = 30};
        case Protocol::headline:
            return {.warmup = most_warmup,
                    .steady_warmup = true,
                    .steady_heat = true,
                    .least_sequences = 30,
                    .least_seconds = 10,
                    .most_sequences = 0,
                    .half_width = 0.005,
                    .budget_s = 120};
    }
    ASSERT(false);
}

std::optional<std::string> why_stop(const SamplingRule& rule, std::span<const double> rates,
                                    double elapsed_s) {
    const auto taken = static_cast<int>(rates.size());
    const bool enough = taken >= rule.least_sequences ||
                        (rule.least_seconds > 0 && elapsed_s >= rule.least_seconds && taken >= 2);
    if (!enough) {
        // A model so slow that its least number of sequences takes twice the budget ends earlier.
        return rule.budget_s > 0 && taken >= 1 && elapsed_s >= 2 * rule.budget_s
                   ? std::optional<std::string>("budget")
                   : std::nullopt;
    }
    if (rule.half_width > 0) {
        const auto width = relative_half_width(rates);
        if (width && *width <= rule.half_width) {
            return "half-width";
        }
    }
    if (rule.most_sequences > 0 && taken >= rule.most_sequences) {
        return "fixed";
    }
    if (rule.budget_s > 0 && elapsed_s >= rule.budget_s) {
        return "budget";
    }
    return std::nullopt;
}

bool warm(const SamplingRule& rule, std::span<const double> rates, double elapsed_s) {
    const auto taken = static_cast<int>(rates.size());
    if (taken >= rule.warmup) {
        return true;
    }
    if (!rule.steady_warmup || taken == 0) {
        return false;
    }
    if (rule.budget_s > 0 && elapsed_s >= rule.budget_s) {
        return true;
    }
    if (taken < steady_window) {
        return false;
    }
    const auto variation = coefficient_of_variation(rates.last(steady_window));
    return variation && *variation < steady_variation;
}

bool heat_is_steady(std::span<const HeatReading> readings) {
    if (readings.empty()) {
        return false;
    }
    // The newest that is old enough, and what came after it.
    std::size_t first = readings.size();
    while (first > 0 && readings.back().at_s - readings[first - 1].at_s < heat_window_s) {
        --first;
    }
    if (first == 0) {
        return false;
    }
    const auto window = readings.subspan(first - 1);
    double mean_s = 0, mean_c = 0;
    for (const HeatReading& one : window) {
        mean_s += one.at_s / static_cast<double>(window.size());
        mean_c += one.celsius / static_cast<double>(window.size());
    }
    double up = 0, across = 0;
    for (const HeatReading& one : window) {
        up += (one.at_s - mean_s) * (one.celsius - mean_c);
        across += (one.at_s - mean_s) * (one.at_s - mean_s);
    }
    return std::fabs(up / across) * heat_window_s < steady_heat_c;
}

Result<WorkloadResult> run_workload(const SamplingRule& rule,
                                    const std::function<Result<Sequence>()>& sequence,
                                    const Progress& progress, const std::function<void()>& warmed,
                                    const Thermometer& thermometer) {
    const auto say = [&](const std::string& what) {
        if (progress) {
            progress(what);
        }
    };
    WorkloadResult result;
    std::vector<double> rates;
    std::int64_t start = monotonic_ns();
    HeatRule heat(rule, thermometer);
    while (!warm(rule, rates, seconds_since(start)) || heat.asks_for_more(seconds_since(start))) {
        say("warm-up " + std::to_string(rates.size() + 1));
        Sequence one = TRY(sequence());
        rates.push_back(rate_of(one.trace));
        result.trace.warmup.push_back(std::move(one.trace));
        heat.note(seconds_since(start));
    }
    result.heat = heat.verdict();
    rates.clear();
    if (warmed) {
        warmed();
    }
    start = monotonic_ns();
    std::optional<std::string> stop;
    while (!stop) {
        say("sequence " + std::to_string(rates.size() + 1));
        Sequence one = TRY(sequence());
        rates.push_back(rate_of(one.trace));
        result.same_text = result.same_text && (rates.size() == 1 || one.new_ids == result.new_ids);
        result.new_ids = std::move(one.new_ids);
        result.trace.sequences.push_back(std::move(one.trace));
        stop = why_stop(rule, rates, seconds_since(start));
    }
    result.trace.stop_reason = *stop;
    return result;
}

}  // namespace bitsweep
