#include <cmath>
#include <functional>
#include <map>

#include "results/analysis/html.h"
#include "results/analysis/number_text.h"
#include "results/analysis/plot.h"
#include "results/analysis/report_figures.h"
#include "results/analysis/report_parts.h"

namespace bitsweep {
namespace {

using ByThreshold = std::map<double, const MeasuredCell*>;

// Input features of all linear layers; 0: not in the table of shapes.
double columns_of(const MeasuredCell& cell) {
    const ModelShape* shape = cell.shape;
    return shape == nullptr
               ? 0
               : static_cast<double>(shape->layers * (2 * shape->width +
                                                      shape->heads * shape->head_dim + shape->ffn));
}

struct ThresholdPanel {
    std::string label;
    std::function<Interval(const MeasuredCell&)> value;
};

std::string threshold_panel(const ThresholdPanel& panel, const ByThreshold& cells, int series) {
    std::vector<std::pair<double, double>> line;
    std::vector<Interval> intervals;
    Range x, y;
    for (const auto& [threshold, cell] : cells) {
        const Interval value = panel.value(*cell);
        if (std::isfinite(value.centre)) {
            line.emplace_back(threshold, value.centre);
            intervals.push_back(value);
            x.add(threshold);
            for (const double edge : {value.centre, value.low, value.high}) {
                y.add(edge);
            }
        }
    }
    if (line.size() < 2) {
        return "";
    }
    // On a linear axis a loss that falls by decades would be a corner.
    const bool decades = y.low > 0 && y.high > 20 * y.low;
    Plot plot(panel.label + " against the outlier threshold",
              axis("outlier threshold", Scale::linear, x),
              axis(panel.label, decades ? Scale::logarithmic : Scale::linear, y), 400, 280);
    plot.line(line, series, true);
    for (std::size_t i = 0; i < line.size(); ++i) {
        plot.point(line[i].first, line[i].second, intervals[i].low, intervals[i].high,
                   {series, false},
                   cells.begin()->second->model + ", T = " + plain_text(line[i].first) + ": " +
                       significant(line[i].second, 4));
    }
    return plot.svg();
}

// Of one model: a panel for its time, its loss and what the threshold picks.
std::string threshold_panels(const Report& report, const ByThreshold& cells, int series) {
    // A slow machine's tokens are told in milliseconds.
    const bool slow = std::exp(cells.begin()->second->decode_rate().centre()) < 100;
    const bool shares = columns_of(*cells.begin()->second) > 0;
    const ThresholdPanel panels[] = {
        {slow ? "ms per token" : "us per token",
         [&](const MeasuredCell& cell) {
             const Interval rate = bootstrap_interval(cell.decode_rate(), report.how);
             const double unit = slow ? 1e3 : 1e6;
             return Interval{unit / rate.centre, unit / rate.high, unit / rate.low};
         }},
        {"KL divergence, nat",
         [](const MeasuredCell& cell) {
             return Interval{cell.metric("kl_mean"), NAN, NAN};
         }},
        {shares ? "outlier columns, %" : "outlier columns", [&](const MeasuredCell& cell) {
             const double columns = cell.metric("outlier_columns");
             return Interval{shares ? 100 * columns / columns_of(cell) : columns, NAN, NAN};
         }}};
    std::string svgs;
    for (const ThresholdPanel& panel : panels) {
        svgs += threshold_panel(panel, cells, series);
    }
    return svgs;
}

}  // namespace

std::string threshold_figure(const Report& report, const std::string& device,
                             const Palette& palette) {
    std::vector<std::pair<std::string, std::string>> order;  // models and methods as they began
    std::map<std::pair<std::string, std::string>, ByThreshold> groups;
    for (const MeasuredCell& cell : report.evidence.cells) {
        const std::pair key(cell.model, cell.method_name);
        if (cell.device == device && cell.threshold) {
            if (groups.try_emplace(key).second) {
                order.push_back(key);
            }
            groups[key][*cell.threshold] = &cell;
        }
    }
    ModelFigures figures(report, device);
    for (const auto& key : order) {
        const ByThreshold& cells = groups[key];
        if (cells.size() < 3) {
            continue;
        }
        const std::string svgs =
            threshold_panels(report, cells, palette.of(cells.begin()->second->method));
        figures.add(key.first, svgs.empty()
                                   ? ""
                                   : figure(html::element("div", "panels", svgs),
                                            "What the outlier threshold of " + key.second +
                                                " costs and gives, " + key.first + " on " + device +
                                                ". T = 0 has no outlier path at all."));
    }
    return figures.html(3);
}

}  // namespace bitsweep
