#include "results/analysis/report_figures.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "results/analysis/html.h"
#include "results/analysis/number_text.h"
#include "results/analysis/plot.h"
#include "results/analysis/report_parts.h"

namespace bitsweep {
namespace {

std::string interval_text(const Interval& interval) {
    return ratio_text(interval.centre) +
           (interval.known()
                ? " (95 % " + ratio_text(interval.low) + " to " + ratio_text(interval.high) + ")"
                : "");
}

// Points of one size, averaged: the line that the crossover reads.
std::vector<std::pair<double, double>> averaged(const std::vector<CrossoverPoint>& points) {
    std::map<double, std::pair<double, int>> sums;
    for (const CrossoverPoint& point : points) {
        auto& [sum, count] = sums[point.parameters];
        sum += point.ratio.centre();
        ++count;
    }
    std::vector<std::pair<double, double>> line;
    for (const auto& [size, sum] : sums) {
        line.emplace_back(size, std::exp(sum.first / sum.second));
    }
    return line;
}

void add_external(const Report& report, Plot& plot) {
    for (const ExternalSpeedup& one : report.external) {
        plot.point(one.parameters, one.speedup, NAN, NAN, {-1, true},
                   "external: " + one.model + " " + one.method + " on " + one.gpu + ", " +
                       one.tool + ": " + ratio_text(one.speedup) + "x (" + one.file + ")");
        plot.label(one.parameters, one.speedup, one.method + ", " + one.gpu);
    }
}

}  // namespace

int Palette::of(const std::string& method) const {
    const auto found = std::find(methods_.begin(), methods_.end(), method);
    return found == methods_.end() ? -1 : static_cast<int>(found - methods_.begin());
}

// Five pixels between neighbours, centred; three where there are many.
double Palette::aside(int series) const {
    const auto count = static_cast<double>(methods_.size());
    return series < 0 ? 0 : (series - (count - 1) / 2) * (count > 8 ? 3 : 5);
}

std::string Palette::legend() const {
    return bitsweep::legend(methods_);
}

std::string Palette::legend(const std::set<std::string>& shown) const {
    std::vector<std::string> names = methods_;
    for (std::string& name : names) {
        name = shown.contains(name) ? name : "";
    }
    return bitsweep::legend(names);
}

std::string speedup_figure(const Report& report, const std::string& device,
                           const Palette& palette) {
    Range x, y;
    y.add(1);
    bool any = false;
    for (const Crossover& crossover : report.crossovers) {
        for (const CrossoverPoint& point : crossover.points) {
            any = any || crossover.device == device;
            x.add(point.parameters);
            y.add(point.speedup.centre);
            // A whisker that spans decades would flatten the plot; its title has the numbers.
            y.add(std::max(point.speedup.low, point.speedup.centre / 3));
            y.add(std::min(point.speedup.high, point.speedup.centre * 3));
        }
    }
    if (!any) {
        return "";
    }
    for (const ExternalSpeedup& one : report.external) {
        x.add(one.parameters);
        y.add(std::isfinite(one.parameters) ? one.speedup : 1);
    }
    Plot plot("Speed-up over 16 bits against the number of parameters on " + device,
              axis("parameters", Scale::logarithmic, x),
              axis("speed-up, 1: as fast as 16 bits", Scale::logarithmic, y), 1000, 440);
    plot.rule(1);
    std::set<std::string> shown;
    for (const Crossover& crossover : report.crossovers) {
        if (crossover.device != device) {
            continue;
        }
        shown.insert(crossover.a);
        const int series = palette.of(crossover.a);
        const double aside = palette.aside(series);
        if (crossover.parameters.verdict == CrossoverClass::within) {
            plot.band(crossover.parameters.low, crossover.parameters.high, series);
        }
        plot.line(averaged(crossover.points), series, false, aside);
        for (const CrossoverPoint& point : crossover.points) {
            plot.point(point.parameters, point.speedup.centre, point.speedup.low,
                       point.speedup.high, {series, false, aside},
                       point.model + ", " + crossover.a + ": " + interval_text(point.speedup) +
                           "x of " + crossover.b);
        }
    }
    add_external(report, plot);
    return figure(
        plot.svg(),
        "Speed-up of decoding over 16 bits on " + device +
            ", with 95 % intervals over processes. Shaded: where a method starts to be "
            "faster (95 %). Methods of one size stand side by side. Hollow and grey: external, "
            "other tools on other cards.",
        palette.legend(shown));
}

std::string latency_figure(const Report& report, const std::string& device) {
    const std::string model = largest_model(report, device);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < latency_parts; ++i) {
        names.emplace_back(name_of(static_cast<LatencyPart>(i)));
    }
    std::vector<StackedBar> bars;
    for (const LatencySplit& split : report.latency.splits) {
        if (split.device != device || split.model != model) {
            continue;
        }
        StackedBar bar{split.method, {}, ""};
        for (const double ns : split.ns) {
            bar.parts.push_back(ns / 1e6);
        }
        bar.note = split.speedup.known() ? ratio_text(split.speedup.centre) + "x" : "";
        bars.push_back(std::move(bar));
    }
    if (bars.empty()) {
        return "";
    }
    return figure(
        stacked_bars("Where the time of one decode step of " + model + " goes on " + device, bars,
                     names, "ms per decode step"),
        "Where the time of one decode step of " + model + " goes on " + device +
            "; behind each bar its speed-up over 16 bits. Bytes: weights and cache at the rate at "
            "which this machine reads memory, where they do not come from a cache. Launches: "
            "starting kernels; on a CPU the fixed part of every product and row. Host: work "
            "between launches. Tail: slow tokens, mean minus median. Rest: arithmetic, conversions "
            "and what was not stored.",
        legend(names, true));
}

namespace {

std::string pareto_plot(const ParetoFront& front, const Palette& palette) {
    Range x, y;
    for (const ParetoPoint& point : front.points) {
        x.add(point.loss > 0 ? point.loss : NAN);
        y.add(point.rate.centre);
        y.add(std::max(point.rate.low, point.rate.centre / 3));
        y.add(std::min(point.rate.high, point.rate.centre * 3));
    }
    if (x.empty()) {
        return "";
    }
    const std::string where = front.model + " on " + front.device;
    Plot plot("Decode rate against KL divergence, " + where,
              axis("KL divergence from fp32, nat per token", Scale::logarithmic, x),
              axis("decode, token/s", Scale::linear, y), 1000, 420);
    for (const ParetoPoint& point : front.points) {
        if (!(point.loss > 0)) {
            continue;
        }
        plot.point(point.loss, point.rate.centre, point.rate.low, point.rate.high,
                   {palette.of(point.method), point.on_front < 0.5},
                   point.method + ": " + significant(point.rate.centre, 3) + " token/s, KL " +
                       small_text(point.loss) + ", " + significant(point.bytes / 1048576, 4) +
                       " MiB, on the front in " + fixed_text(100 * point.on_front, 0) +
                       " % of the resamples");
        plot.label(point.loss, point.rate.centre,
                   point.method + ", " + significant(point.bytes / 1048576, 3) + " MiB");
    }
    return figure(plot.svg(), "Speed against loss of quality, " + where +
                                  ": up and to the left is better. Hollow: dominated in most "
                                  "resamples; memory stands beside each point.");
}

}  // namespace

std::string pareto_figure(const Report& report, const std::string& device, const Palette& palette) {
    ModelFigures figures(report, device);
    for (const ParetoFront& front : report.fronts) {
        if (front.device == device) {
            figures.add(front.model, pareto_plot(front, palette));
        }
    }
    return figures.html(1);
}

std::string memory_figure(const Report& report, const std::string& device) {
    const std::string model = largest_model(report, device);
    const std::vector<std::pair<const char*, const char*>> parts = {
        {"weights_codes_bytes", "codes"},   {"weights_scales_bytes", "scales"},
        {"embeddings_bytes", "embeddings"}, {"other_weights_bytes", "norms and biases"},
        {"kv_cache_bytes", "KV cache"},     {"activations_bytes", "activations"},
        {"workspace_bytes", "workspace"}};
    std::vector<std::string> names;
    for (const auto& [metric, name] : parts) {
        names.emplace_back(name);
    }
    std::vector<StackedBar> bars;
    for (const LatencySplit& split : report.latency.splits) {  // its order: the baseline first
        for (const MeasuredCell& cell : report.evidence.cells) {
            if (split.device != device || split.model != model || cell.device != device ||
                cell.model != model || cell.method != split.method) {
                continue;
            }
            StackedBar bar{cell.method, {}, ""};
            double sum = 0;
            for (const auto& [metric, name] : parts) {
                bar.parts.push_back(cell.metric(metric) / 1048576);
                sum += std::isfinite(bar.parts.back()) ? bar.parts.back() : 0;
            }
            bar.note = significant(sum, 4);
            if (sum > 0) {
                bars.push_back(std::move(bar));
            }
        }
    }
    if (bars.empty()) {
        return "";
    }
    return figure(stacked_bars("Memory of " + model + " on " + device, bars, names, "MiB"),
                  "What is allocated for " + model + " on " + device +
                      ", from the ledger: exact bytes, not an estimate.",
                  legend(names, true));
}

std::string order_figure(const Report& report, const std::string& device) {
    Range x, y;
    y.add(1);
    for (const RunInOrder& run : report.order) {
        if (run.device == device) {
            x.add(run.minutes);
            y.add(run.relative);
        }
    }
    if (x.empty() || x.low == x.high) {
        return "";
    }
    // People read "40 s", not "0.67 minutes".
    const bool short_span = x.high < 3;
    const double unit = short_span ? 60 : 1;
    x.low *= unit;
    x.high *= unit;
    Plot plot("Every run's rate over its cell's median, in the order of the clock, " + device,
              axis(std::string(short_span ? "seconds" : "minutes") + " since the first run",
                   Scale::linear, x),
              axis("rate over its cell's median", Scale::linear, y), 1000, 260);
    plot.rule(1);
    for (const RunInOrder& run : report.order) {
        if (run.device == device) {
            plot.point(run.minutes * unit, run.relative, NAN, NAN, {-1, false},
                       run.name + ": " + significant(run.relative, 3));
        }
    }
    return figure(plot.svg(), "Drift: every run on " + device +
                                  " against the median of its cell, in the order in which they "
                                  "ran. A slope or a step is the machine's, not the method's.");
}

std::string held_out_figure(const Report& report, const Palette& palette) {
    Range range;
    for (const SpeedFit& fit : report.scaling.speed) {
        for (const ScalingPoint& point : fit.points) {
            if (std::isfinite(point.held_out_ns)) {
                range.add(point.ns / 1e3);
                range.add(point.held_out_ns > 0 ? point.held_out_ns / 1e3 : NAN);
            }
        }
    }
    if (range.empty()) {
        return "";
    }
    Plot plot("Predicted against measured time per decode step of held-out models",
              axis("measured, us per step", Scale::logarithmic, range),
              axis("predicted without it, us", Scale::logarithmic, range), 560, 440);
    plot.line({{range.low, range.low}, {range.high, range.high}}, -1);
    plot.line({{range.low, range.low * 1.1}, {range.high, range.high * 1.1}}, -1, true);
    plot.line({{range.low, range.low / 1.1}, {range.high, range.high / 1.1}}, -1, true);
    for (const SpeedFit& fit : report.scaling.speed) {
        for (const ScalingPoint& point : fit.points) {
            if (point.held_out_ns > 0) {
                plot.point(point.ns / 1e3, point.held_out_ns / 1e3, NAN, NAN,
                           {palette.of(fit.method), false},
                           fit.device + " " + point.model + " " + fit.method + ": measured " +
                               significant(point.ns / 1e3, 3) + " us, predicted " +
                               significant(point.held_out_ns / 1e3, 3) + " us");
            }
        }
    }
    return figure(plot.svg(), "Every model predicted by a fit to the others. Dashed: 10 % off.",
                  palette.legend());
}

std::string quality_figure(const Report& report, const Palette& palette) {
    const QualityFit& fit = report.scaling.quality;
    Range x, y, size;
    for (const QualityFit::Point& point : fit.points) {
        x.add(point.bits);
        y.add(point.kl);
        size.add(point.parameters);
    }
    if (x.empty() || x.low == x.high) {
        return "";
    }
    Plot plot("KL divergence against bits per weight",
              axis("bits per weight, scales included", Scale::linear, x),
              axis("KL divergence from fp32, nat", Scale::logarithmic, y), 560, 400);
    if (fit.known) {
        for (const double parameters : {size.low, size.high}) {
            const auto law = [&](double bits) {
                return std::exp(fit.intercept.value + fit.per_bit.value * bits +
                                fit.per_log_size.value * std::log(parameters));
            };
            plot.line({{x.low, law(x.low)}, {x.high, law(x.high)}}, -1, parameters == size.low);
        }
    }
    for (const QualityFit::Point& point : fit.points) {
        plot.point(point.bits, point.kl, NAN, NAN, {palette.of(point.method), false},
                   point.model + " " + point.method + ": KL " + small_text(point.kl));
    }
    return figure(
        plot.svg(),
        "Loss of quality against bits, weight-only formats; lines: the fitted law for the "
        "largest model and, dashed, the smallest.",
        palette.legend());
}

}  // namespace bitsweep
