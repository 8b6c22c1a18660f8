// The scaling analysis in words and tables.
#include <cmath>
#include <set>

#include "results/analysis/number_text.h"
#include "results/analysis/scaling.h"

namespace bitsweep {
namespace {

constexpr double bytes_per_gb = 1e9;
constexpr double separable = 30;  // condition number, see fit.h

std::string percent(double share) {
    return std::isnan(share) ? "-" : significant(100 * share, 2) + " %";
}

// Microseconds in one place: what is below a nanosecond is nothing.
std::string us(const Estimate& ns) {
    const std::string value = significant(ns.value / 1e3, 3);
    return std::isnan(ns.low) ? value
                              : value + " [" + significant(ns.low / 1e3, 3) + "-" +
                                    significant(ns.high / 1e3, 3) + "]";
}

std::string ns(const Estimate& value) {
    const std::string text = significant(value.value, 3);
    return std::isnan(value.low)
               ? text
               : text + " [" + significant(value.low, 3) + "-" + significant(value.high, 3) + "]";
}

std::string bandwidth_text(const Estimate& value) {
    const auto gb = [](double x) {
        return std::isfinite(x) ? significant(x / bytes_per_gb, 3) : std::string("unbounded");
    };
    return std::isnan(value.low)
               ? gb(value.value)
               : gb(value.value) + " [" + gb(value.low) + "-" + gb(value.high) + "]";
}

std::string interval(const Estimate& value) {
    return std::isnan(value.low) ? significant(value.value, 3)
                                 : significant(value.value, 3) + " [" + significant(value.low, 3) +
                                       " to " + significant(value.high, 3) + "]";
}

Table coefficients(const Scaling& scaling) {
    TableBuilder table({"device", "method", "models", "fixed us", "us per product", "ns per row",
                        "cache GB/s", "memory GB/s", "residual", "held out", "exponent",
                        "held out (power law)", "condition"});
    for (const SpeedFit& fit : scaling.speed) {
        table.row().text(fit.device).text(fit.method);
        table.count(static_cast<std::int64_t>(fit.points.size()));
        table.text(fit.has_fixed ? us(fit.fixed_ns) : "").text(us(fit.per_product_ns));
        table.text(fit.has_rows ? ns(fit.per_row_ns) : "");
        const bool cached = fit.points.back().bytes < fit.cache_bytes;
        table.text(fit.two_levels || cached ? bandwidth_text(fit.cache_bandwidth) : "");
        table.text(cached ? "" : bandwidth_text(fit.bandwidth)).text(percent(fit.residual));
        table.text(percent(fit.held_out)).text(interval(fit.exponent));
        table.text(percent(fit.power_held_out)).number(fit.condition, 3);
    }
    return table.take();
}

Table predictions(const Scaling& scaling) {
    TableBuilder table({"device", "method", "model", "products", "MB per token", "measured us",
                        "fitted us", "held out us", "held out (power law) us", "error"});
    for (const SpeedFit& fit : scaling.speed) {
        for (const ScalingPoint& point : fit.points) {
            table.row().text(fit.device).text(fit.method).text(point.model);
            table.number(point.products).number(point.bytes / 1e6).number(point.ns / 1e3);
            table.number(point.fitted_ns / 1e3).number(point.held_out_ns / 1e3);
            table.number(point.power_held_out_ns / 1e3);
            table.text(percent(std::fabs(point.held_out_ns / point.ns - 1)));
        }
    }
    return table.take();
}

Table quality_table(const QualityFit& fit) {
    TableBuilder table(
        {"model", "method", "bits per weight", "parameters", "KL nat", "held out KL nat"});
    for (const QualityFit::Point& point : fit.points) {
        table.row().text(point.model).text(point.method).number(point.bits);
        table.number(point.parameters, 6).number(point.kl, 3).number(point.held_out, 3);
    }
    return table.take();
}

std::vector<double> errors_of(const Scaling& scaling, double SpeedFit::*which) {
    std::vector<double> errors;
    for (const SpeedFit& fit : scaling.speed) {
        if (std::isfinite(fit.*which)) {
            errors.push_back(fit.*which);
        }
    }
    return errors;
}

void describe_speed(const Scaling& scaling, Finding& finding) {
    const double physical = median(errors_of(scaling, &SpeedFit::held_out));
    const double power = median(errors_of(scaling, &SpeedFit::power_held_out));
    if (std::isnan(physical)) {
        finding.sentences.push_back(
            scaling.speed.empty()
                ? "No method was measured on enough sizes of models for a fit."
                : "Too few models to check a fit on one that it never saw: measure 5 or more.");
        return;
    }
    finding.sentences.push_back(
        "A model that the fit never saw is predicted to a median error of " + percent(physical) +
        " by products, rows and bytes, and of " + percent(power) +
        " by a power law of the parameters (median over " + std::to_string(scaling.speed.size()) +
        " fits).");
}

void describe_quality(const QualityFit& fit, Finding& finding) {
    if (!fit.known) {
        finding.notes.push_back(
            "quality: too few weight-only formats with KL divergence for a fit (it needs 5 points "
            "over 2 bit widths and 2 sizes)");
        return;
    }
    finding.sentences.push_back(
        "KL divergence falls by a factor of " + significant(std::exp(-fit.per_bit.value), 3) +
        " per bit (95 % " + significant(std::exp(-fit.per_bit.high), 3) + " to " +
        significant(std::exp(-fit.per_bit.low), 3) + "; uniform rounding noise would give 4) and " +
        (fit.per_log_size.high < 0  ? "falls with size: "
         : fit.per_log_size.low > 0 ? "rises with size: "
                                    : "does not clearly depend on size: ") +
        "exponent " + interval(fit.per_log_size) + " of the parameters" +
        (std::isnan(fit.held_out_factor)
             ? "; too few models to check it on one that the fit never saw."
             : "; a model that the fit never saw is met within a factor of " +
                   significant(fit.held_out_factor, 2) + " (median)."));
}

void add_notes(const Scaling& scaling, Finding& finding) {
    finding.notes.insert(
        finding.notes.end(),
        {"time per decode step = fixed + products x cost per product + rows x cost per row (on a "
         "CPU: outputs of the method's products, each with a sum at its end whatever its length) + "
         "bytes / bandwidth, all >= 0, least squares of relative errors; the bandwidth is "
         "effective: it holds all that grows with bytes, arithmetic too; caches have one of their "
         "own",
         "power law: time = c x parameters^exponent, least squares of logarithms",
         "intervals: 95 %, refitted on resampled processes; they hold the noise of measuring, not "
         "that the law may be wrong: the held-out column shows that",
         "held out: every model predicted by a fit to the others"});
    std::set<std::string> devices;
    for (const SpeedFit& fit : scaling.speed) {
        if (fit.two_levels && devices.insert(fit.device).second) {
            finding.notes.push_back(fit.device + ": a cache serves models that read less than " +
                                    significant(fit.cache_bytes / 1048576, 3) + " MiB a token");
        }
    }
    std::string together;
    for (const SpeedFit& fit : scaling.speed) {
        if (fit.condition > separable) {
            together += (together.empty() ? "" : ", ") + fit.device + " " + fit.method;
        }
    }
    if (!together.empty()) {
        finding.notes.push_back(
            "condition above 30: products and bytes grow together in these "
            "models, so their costs trade against each other: " +
            together);
    }
    for (const std::string& line : scaling.quality.left_out) {
        finding.notes.push_back("left out of the law of quality: " + line);
    }
    for (const std::string& line : scaling.too_few) {
        finding.notes.push_back("no fit for " + line);
    }
}

}  // namespace

Finding scaling_finding(const Scaling& scaling) {
    Finding finding;
    finding.title = "Scaling of time per token and of quality";
    describe_speed(scaling, finding);
    describe_quality(scaling.quality, finding);
    finding.tables.push_back({"coefficients", coefficients(scaling)});
    finding.tables.push_back({"every model", predictions(scaling)});
    finding.tables.push_back({"quality", quality_table(scaling.quality)});
    add_notes(scaling, finding);
    return finding;
}

}  // namespace bitsweep
