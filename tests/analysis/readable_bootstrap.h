// The hierarchical bootstrap as it is described: every sample of every resample is drawn. What
// results/analysis/bootstrap.h has to agree with, and what it is measured against.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "results/analysis/bootstrap.h"
#include "results/analysis/student.h"

namespace bitsweep::readable {

inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

inline double log_ratio(const Process& process) {
    return std::log(median(process.samples)) -
           (process.over.empty() ? 0 : std::log(median(process.over)));
}

inline std::vector<double> resample(const std::vector<double>& values, Random& random) {
    std::vector<double> drawn;
    for (std::size_t i = 0; i < values.size(); ++i) {
        drawn.push_back(values[random.index(values.size())]);
    }
    return drawn;
}

inline double draw(const std::vector<Process>& processes, Random& random) {
    double sum = 0;
    for (std::size_t i = 0; i < processes.size(); ++i) {
        const Process& process = processes[random.index(processes.size())];
        sum += log_ratio({resample(process.samples, random), resample(process.over, random)});
    }
    return sum / static_cast<double>(processes.size());
}

// Draws around the centre, scaled to the unbiased variance and Student's tails (bootstrap.h says
// why); the scale from `calibration` draws of their own.
inline Interval interval(const std::vector<Process>& processes, const Resampling& how,
                         int calibration = 400) {
    const auto count = static_cast<double>(processes.size());
    double centre = 0, squares = 0, drawn = 0;
    for (const Process& process : processes) {
        centre += log_ratio(process) / count;
    }
    for (const Process& process : processes) {
        squares += std::pow(log_ratio(process) - centre, 2);
    }
    Random random(how.seed);
    for (int i = 0; i < calibration; ++i) {
        drawn += std::pow(draw(processes, random) - centre, 2) / calibration;
    }
    const double scale = std::sqrt(squares / (count - 1) / count / drawn) *
                         student_quantile(0.95, count - 1) / normal_quantile(0.95);
    std::vector<double> draws;
    for (int i = 0; i < how.resamples; ++i) {
        const double distance = scale * (draw(processes, random) - centre);
        const bool mirrored = processes.size() < 10 && random.index(2) == 1;
        draws.push_back(centre + (mirrored ? -distance : distance));
    }
    std::sort(draws.begin(), draws.end());
    const double tail = (1 - how.confidence) / 2;
    return {std::exp(centre), std::exp(percentile(draws, tail)),
            std::exp(percentile(draws, 1 - tail))};
}

}  // namespace bitsweep::readable
