#include "results/analysis/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "results/analysis/student.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Fewer processes say nothing about the skew of their distribution.
constexpr std::size_t least_for_skew = 10;

bool usable(const std::vector<double>& samples) {
    return std::all_of(samples.begin(), samples.end(),
                       [](double value) { return std::isfinite(value) && value > 0; });
}

}  // namespace

ProcessSampler::ProcessSampler(const std::vector<Process>& processes) {
    std::vector<double> statistics;
    for (const Process& process : processes) {
        if (!process.samples.empty() && usable(process.samples) && usable(process.over)) {
            processes_.push_back({MedianDraws(process.samples), MedianDraws(process.over)});
            statistics.push_back(processes_.back().samples.centre() -
                                 processes_.back().over.centre());
        }
    }
    const auto count = static_cast<double>(processes_.size());
    for (const double value : statistics) {
        centre_ += value / count;
    }
    if (processes_.size() < 2) {
        centre_ = processes_.empty() ? nan : centre_;
        standard_error_ = nan;
        return;
    }
    double squares = 0;
    for (const double value : statistics) {
        squares += (value - centre_) * (value - centre_);
    }
    standard_error_ = std::sqrt(squares / (count - 1) / count);
    const double drawn = raw_variance();
    const double tails = student_quantile(0.95, count - 1) / normal_quantile(0.95);
    scale_ = drawn > 0 ? standard_error_ / std::sqrt(drawn) * tails : 0;
}

// A draw is the mean of as many independent picks as there are processes. A pick varies by which
// process it takes and by the medians inside that one.
double ProcessSampler::raw_variance() const {
    const auto count = static_cast<double>(processes_.size());
    double mean = 0, square = 0;
    for (const Pair& pair : processes_) {
        const double one = pair.samples.mean() - pair.over.mean() - centre_;
        mean += one / count;
        square += (one * one + pair.samples.variance() + pair.over.variance()) / count;
    }
    return (square - mean * mean) / count + mean * mean;
}

double ProcessSampler::draw(Random& random) const {
    if (processes_.empty()) {
        return nan;
    }
    double sum = 0;
    for (std::size_t i = 0; i < processes_.size(); ++i) {
        const Pair& pair = processes_[random.index(processes_.size())];
        sum += pair.samples.draw(random) - pair.over.draw(random);
    }
    const double distance = scale_ * (sum / static_cast<double>(processes_.size()) - centre_);
    const bool mirrored =
        processes_.size() > 1 && processes_.size() < least_for_skew && random.index(2) == 1;
    return centre_ + (mirrored ? -distance : distance);
}

double percentile(std::span<const double> sorted, double share) {
    if (sorted.empty()) {
        return nan;
    }
    const double place = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    const double part = place - static_cast<double>(below);
    // Without a part the neighbour does not count, not even an infinite one.
    return part == 0 ? sorted[below] : sorted[below] + part * (sorted[above] - sorted[below]);
}

Interval bootstrap_interval(const ProcessSampler& sampler, const Resampling& how) {
    if (sampler.processes() < 2) {
        return {std::exp(sampler.centre()), nan, nan};
    }
    Random random(how.seed);
    std::vector<double> draws(static_cast<std::size_t>(how.resamples));
    for (double& value : draws) {
        value = sampler.draw(random);
    }
    std::sort(draws.begin(), draws.end());
    const double tail = (1 - how.confidence) / 2;
    return {std::exp(sampler.centre()), std::exp(percentile(draws, tail)),
            std::exp(percentile(draws, 1 - tail))};
}

}  // namespace bitsweep
