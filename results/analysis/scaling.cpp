#include "results/analysis/scaling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "results/analysis/fit.h"
#include "results/analysis/quality_fit.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double ns_per_s = 1e9;
constexpr double reference_parameters = 1e9;
// Below it caches answer (worker/metrics/bandwidth.cpp).
constexpr double least_bytes_for_memory = 64.0 * 1048576;
constexpr std::size_t least_models = 3;
constexpr int fit_resamples = 500;  // each refits every model of a method

// Weight products of one decode step: attention input, attention output, MLP in, MLP out, the head;
// on a device that steps, what is launched for it. A CPU and a kernel that runs free launch less.
double products_of(const MeasuredCell& cell) {
    const double nodes = cell.metric("graph_nodes_per_token");
    const double launched = cell.metric("launches_per_token") + (std::isnan(nodes) ? 0 : nodes);
    if (cell.shape == nullptr) {
        return launched > 0 ? launched : nan;
    }
    return std::fmax(launched, 4 * static_cast<double>(cell.shape->layers) + 1);
}

std::optional<ScalingPoint> point_of(const MeasuredCell& cell) {
    ScalingPoint point;
    point.model = cell.model;
    point.width = cell.shape == nullptr ? nan : static_cast<double>(cell.shape->width);
    point.parameters = cell.parameters();
    point.products = products_of(cell);
    point.bytes = cell.metric("bytes_per_token");
    point.rate = cell.decode_rate();
    point.batch = cell.batch;
    point.ns = cell.batch * ns_per_s / std::exp(point.rate.centre());
    const bool usable = std::isfinite(point.products) && std::isfinite(point.bytes) &&
                        std::isfinite(point.ns) && std::isfinite(point.parameters);
    return usable ? std::optional(std::move(point)) : std::nullopt;
}

using Times = std::vector<double>;  // ns of each point

bool in_cache(const ScalingPoint& point) {
    return point.bytes < least_bytes_for_memory;
}

std::vector<Observation> physical(const SpeedFit& fit, const Times& ns, std::size_t left_out) {
    std::vector<Observation> data;
    for (std::size_t i = 0; i < ns.size(); ++i) {
        if (i == left_out) {
            continue;
        }
        const ScalingPoint& point = fit.points[i];
        Observation one{{point.products, point.bytes}, ns[i], 1 / ns[i]};
        if (fit.two_levels) {
            one.x.push_back(in_cache(point) ? 0 : point.bytes);
            one.x[1] -= one.x[2];
        }
        if (fit.has_fixed) {
            one.x.insert(one.x.begin(), 1);
        }
        data.push_back(std::move(one));
    }
    return data;
}

std::vector<Observation> power(const SpeedFit& fit, const Times& ns, std::size_t left_out) {
    std::vector<Observation> data;
    for (std::size_t i = 0; i < ns.size(); ++i) {
        if (i != left_out) {
            data.push_back(
                {{1, std::log(fit.points[i].parameters / reference_parameters)}, std::log(ns[i])});
        }
    }
    return data;
}

constexpr std::size_t nothing = std::numeric_limits<std::size_t>::max();

// Always four numbers: fixed, per product, per byte of the cache, per byte of memory.
std::optional<std::vector<double>> solve_physical(const SpeedFit& fit, const Times& ns,
                                                  std::size_t left_out) {
    auto solution = least_squares(physical(fit, ns, left_out), Sign::non_negative);
    if (solution && !fit.has_fixed) {
        solution->insert(solution->begin(), 0);
    }
    if (solution && !fit.two_levels) {
        solution->push_back(solution->back());
    }
    return solution;
}

double physical_ns(const ScalingPoint& point, const std::vector<double>& c) {
    return c[0] + c[1] * point.products + (in_cache(point) ? c[2] : c[3]) * point.bytes;
}

double power_ns(const ScalingPoint& point, const std::vector<double>& c) {
    return std::exp(c[0] + c[1] * std::log(point.parameters / reference_parameters));
}

double median_error(const std::vector<ScalingPoint>& points, double ScalingPoint::*predicted) {
    std::vector<double> errors;
    for (const ScalingPoint& point : points) {
        if (std::isfinite(point.*predicted)) {
            errors.push_back(std::fabs(point.*predicted / point.ns - 1));
        }
    }
    return median(errors);
}

Estimate estimate_of(double value, Times draws) {
    std::sort(draws.begin(), draws.end());
    return {value, percentile(draws, 0.025), percentile(draws, 0.975)};
}

Estimate inverse(const Estimate& ns_per_byte) {
    return {ns_per_s / ns_per_byte.value, ns_per_s / ns_per_byte.high, ns_per_s / ns_per_byte.low};
}

void hold_out(SpeedFit& fit, const Times& ns) {
    for (std::size_t i = 0; i < ns.size(); ++i) {
        ScalingPoint& point = fit.points[i];
        // A fit through exactly as many points as it has terms predicts by luck.
        const std::size_t terms = 2 + fit.has_fixed + fit.two_levels;
        // The only model of its level has nothing to be predicted from.
        const auto same_level = std::count_if(
            fit.points.begin(), fit.points.end(),
            [&](const ScalingPoint& other) { return in_cache(other) == in_cache(point); });
        const bool enough = ns.size() - 1 > terms && (!fit.two_levels || same_level > 1);
        const auto rest = enough ? solve_physical(fit, ns, i) : std::nullopt;
        point.held_out_ns = rest ? physical_ns(point, *rest) : nan;
        const auto law =
            ns.size() > 3 ? least_squares(power(fit, ns, i), Sign::free) : std::nullopt;
        point.power_held_out_ns = law ? power_ns(point, *law) : nan;
    }
    fit.held_out = median_error(fit.points, &ScalingPoint::held_out_ns);
    fit.power_held_out = median_error(fit.points, &ScalingPoint::power_held_out_ns);
}

void add_intervals(SpeedFit& fit, const std::vector<double>& centre, const std::vector<double>& law,
                   const Resampling& how) {
    Random random(how.seed);
    std::map<std::string, Times> drawn;  // stays empty, so no interval, where a model ran once
    const bool single = std::any_of(fit.points.begin(), fit.points.end(),
                                    [](const ScalingPoint& p) { return p.rate.processes() < 2; });
    for (int i = 0; !single && i < std::min(how.resamples, fit_resamples); ++i) {
        Times ns;
        for (const ScalingPoint& point : fit.points) {
            ns.push_back(point.batch * ns_per_s / std::exp(point.rate.draw(random)));
        }
        const auto solution = solve_physical(fit, ns, nothing);
        const auto power_law = least_squares(power(fit, ns, nothing), Sign::free);
        if (!solution || !power_law) {
            continue;
        }
        drawn["fixed"].push_back((*solution)[0]);
        drawn["product"].push_back((*solution)[1]);
        drawn["cache byte"].push_back((*solution)[2]);
        drawn["byte"].push_back((*solution)[3]);
        drawn["exponent"].push_back((*power_law)[1]);
        drawn["at 1e9"].push_back(std::exp((*power_law)[0]));
        fit.draws.push_back(*solution);
    }
    fit.fixed_ns = estimate_of(centre[0], drawn["fixed"]);
    fit.per_product_ns = estimate_of(centre[1], drawn["product"]);
    fit.cache_bandwidth = inverse(estimate_of(centre[2], drawn["cache byte"]));
    fit.bandwidth = inverse(estimate_of(centre[3], drawn["byte"]));
    fit.exponent = estimate_of(law[1], drawn["exponent"]);
    fit.ns_at_1e9 = estimate_of(std::exp(law[0]), drawn["at 1e9"]);
}

std::size_t distinct_models(const std::vector<ScalingPoint>& points) {
    std::vector<double> bytes;
    for (const ScalingPoint& point : points) {
        bytes.push_back(point.bytes);
    }
    std::sort(bytes.begin(), bytes.end());
    return static_cast<std::size_t>(std::unique(bytes.begin(), bytes.end()) - bytes.begin());
}

bool fit_speed(SpeedFit& fit, const Resampling& how) {
    std::sort(fit.points.begin(), fit.points.end(),
              [](const ScalingPoint& a, const ScalingPoint& b) { return a.bytes < b.bytes; });
    if (distinct_models(fit.points) < least_models) {
        return false;
    }
    fit.has_fixed = fit.points.size() > least_models;
    fit.two_levels = fit.points.size() > least_models + 1 && in_cache(fit.points.front()) &&
                     !in_cache(fit.points.back());
    Times ns;
    for (const ScalingPoint& point : fit.points) {
        ns.push_back(point.ns);
    }
    const auto centre = solve_physical(fit, ns, nothing);
    const auto law = least_squares(power(fit, ns, nothing), Sign::free);
    if (!centre || !law) {
        return false;
    }
    for (ScalingPoint& point : fit.points) {
        point.fitted_ns = physical_ns(point, *centre);
    }
    fit.condition = condition_number(physical(fit, ns, nothing));
    fit.residual = median_error(fit.points, &ScalingPoint::fitted_ns);
    hold_out(fit, ns);
    add_intervals(fit, *centre, *law, how);
    return true;
}

}  // namespace

Scaling fit_scaling(const Evidence& evidence, const Resampling& how) {
    std::map<std::pair<std::string, std::string>, SpeedFit> fits;
    std::vector<std::pair<std::string, std::string>> order;
    for (const MeasuredCell& cell : evidence.cells) {
        const auto key = std::pair(cell.device, cell.method);
        if (fits.try_emplace(key, SpeedFit{cell.device, cell.method}).second) {
            order.push_back(key);
        }
        if (auto point = point_of(cell)) {
            fits[key].points.push_back(std::move(*point));
        }
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    Scaling scaling;
    for (const auto& key : order) {
        SpeedFit& fit = fits[key];
        if (fit_speed(fit, how)) {
            scaling.speed.push_back(std::move(fit));
        } else {
            scaling.too_few.push_back(
                key.first + " " + key.second + ": " + std::to_string(distinct_models(fit.points)) +
                " sizes with speed, bytes and shape; a fit needs " + std::to_string(least_models));
        }
    }
    scaling.quality = fit_quality(evidence);
    return scaling;
}

}  // namespace bitsweep
