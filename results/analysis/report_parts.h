// What the figures of a report are put together from.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "results/analysis/plot.h"
#include "results/analysis/report.h"

namespace bitsweep {

// An SVG, or several, with a caption below and a key above.
std::string figure(const std::string& svg, const std::string& caption, const std::string& key = "");

// The range of what is put in.
struct Range {
    double low = INFINITY, high = -INFINITY;
    void add(double value) {
        if (std::isfinite(value)) {
            low = std::min(low, value);
            high = std::max(high, value);
        }
    }
    bool empty() const { return low > high; }
};

Axis axis(const std::string& label, Scale scale, const Range& range);

// The model with the most weights among the cells of a device; empty where there is none.
std::string largest_model(const Report& report, const std::string& device);

// One figure for each model of a device: the largest model's first, the last ones a click away.
class ModelFigures {
 public:
    ModelFigures(const Report& report, const std::string& device)
        : device_(device), largest_(largest_model(report, device)) {}
    void add(const std::string& model, const std::string& figure);  // an empty one is none
    std::string html(std::size_t in_sight) const;

 private:
    std::string device_, largest_;
    std::vector<std::string> figures_;
};

}  // namespace bitsweep
