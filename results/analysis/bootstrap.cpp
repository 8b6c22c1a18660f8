#include "results/analysis/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "results/analysis/student.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Draws that calibrate the scale: their standard deviation is known to 3.5 %.
constexpr int calibration_draws = 400;

// Fewer processes say nothing about the skew of their distribution.
constexpr std::size_t least_for_skew = 10;

bool usable(const std::vector<double>& samples) {
    return std::all_of(samples.begin(), samples.end(),
                       [](double value) { return std::isfinite(value) && value > 0; });
}

double median_in_place(std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    if (values.size() % 2 == 1) {
        return *middle;
    }
    return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

double median_of(std::vector<double> values) {
    return median_in_place(values);
}

double resampled_median(const std::vector<double>& samples, Random& random) {
    std::vector<double> drawn(samples.size());
    for (double& value : drawn) {
        value = samples[random.index(samples.size())];
    }
    return median_in_place(drawn);
}

double log_statistic(const Process& process) {
    return std::log(median_of(process.samples)) -
           (process.over.empty() ? 0 : std::log(median_of(process.over)));
}

}  // namespace

ProcessSampler::ProcessSampler(std::vector<Process> processes) : processes_(std::move(processes)) {
    std::erase_if(processes_, [](const Process& process) {
        return process.samples.empty() || !usable(process.samples) || !usable(process.over);
    });
    const auto count = static_cast<double>(processes_.size());
    std::vector<double> statistics;
    for (const Process& process : processes_) {
        statistics.push_back(log_statistic(process));
        centre_ += statistics.back() / count;
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
    // The calibration has its own fixed seed: a sampler draws the same whoever made it before.
    Random random(default_seed);
    double drawn = 0;
    for (int i = 0; i < calibration_draws; ++i) {
        const double distance = raw_draw(random) - centre_;
        drawn += distance * distance / calibration_draws;
    }
    const double tails = student_quantile(0.95, count - 1) / normal_quantile(0.95);
    scale_ = drawn > 0 ? standard_error_ / std::sqrt(drawn) * tails : 0;
}

double ProcessSampler::raw_draw(Random& random) const {
    double sum = 0;
    for (std::size_t i = 0; i < processes_.size(); ++i) {
        const Process& process = processes_[random.index(processes_.size())];
        sum += std::log(resampled_median(process.samples, random));
        sum -= process.over.empty() ? 0 : std::log(resampled_median(process.over, random));
    }
    return sum / static_cast<double>(processes_.size());
}

double ProcessSampler::draw(Random& random) const {
    if (processes_.empty()) {
        return nan;
    }
    const double distance = scale_ * (raw_draw(random) - centre_);
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
