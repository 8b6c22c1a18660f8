#include "results/analysis/scaling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

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

bool is_cpu(const std::string& device) {
    return device.starts_with("cpu");
}

// Queries, keys, values, attention output, MLP in (twice where it is gated) and out.
double rows_of(const MeasuredCell& cell) {
    if (!is_cpu(cell.device) || cell.shape == nullptr) {
        return 0;
    }
    const ModelShape& shape = *cell.shape;
    const bool gated = shape.family != ModelFamily::gpt2 && shape.family != ModelFamily::opt;
    return static_cast<double>(shape.layers * ((shape.heads + 2 * shape.kv_heads) * shape.head_dim +
                                               2 * shape.width + (gated ? 2 : 1) * shape.ffn));
}

std::optional<ScalingPoint> point_of(const MeasuredCell& cell) {
    ScalingPoint point;
    point.model = cell.model;
    point.width = cell.shape == nullptr ? nan : static_cast<double>(cell.shape->width);
    point.parameters = cell.parameters();
    point.products = products_of(cell);
    point.rows = rows_of(cell);
    point.bytes = cell.metric("bytes_per_token");
    point.rate = cell.decode_rate();
    point.batch = cell.batch;
    point.ns = cell.batch * ns_per_s / std::exp(point.rate.centre());
    const bool usable = std::isfinite(point.products) && std::isfinite(point.bytes) &&
                        std::isfinite(point.ns) && std::isfinite(point.parameters);
    return usable ? std::optional(std::move(point)) : std::nullopt;
}

using Times = std::vector<double>;  // ns of each point

bool in_cache(const SpeedFit& fit, const ScalingPoint& point) {
    return point.bytes < fit.cache_bytes;
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
            one.x.push_back(in_cache(fit, point) ? 0 : point.bytes);
            one.x[1] -= one.x[2];
        }
        if (fit.has_rows) {
            one.x.push_back(point.rows);
        }
        if (fit.has_fixed) {
            one.x.push_back(1);
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

std::optional<PhysicalCost> solve_physical(const SpeedFit& fit, const Times& ns,
                                           std::size_t left_out) {
    const auto solution = least_squares(physical(fit, ns, left_out), Sign::non_negative);
    if (!solution) {
        return std::nullopt;
    }
    const std::vector<double>& c = *solution;
    std::size_t next = 2;
    PhysicalCost cost;
    cost.product = c[0];
    cost.cache_byte = c[1];
    cost.byte = fit.two_levels ? c[next++] : c[1];
    cost.row = fit.has_rows ? c[next++] : 0;
    cost.fixed = fit.has_fixed ? c[next] : 0;
    return cost;
}

double physical_ns(const SpeedFit& fit, const ScalingPoint& point, const PhysicalCost& c) {
    return c.fixed + c.product * point.products + c.row * point.rows +
           (in_cache(fit, point) ? c.cache_byte : c.byte) * point.bytes;
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

Times times_of(const SpeedFit& fit) {
    Times ns;
    for (const ScalingPoint& point : fit.points) {
        ns.push_back(point.ns);
    }
    return ns;
}

std::size_t index_of(const SpeedFit& fit, const std::string& model) {
    for (std::size_t i = 0; i < fit.points.size(); ++i) {
        if (fit.points[i].model == model) {
            return i;
        }
    }
    return nothing;
}

// Which terms so many models can carry.
void choose_terms(SpeedFit& fit, double cache_bytes) {
    const std::size_t models = fit.points.size();
    fit.cache_bytes = cache_bytes;
    fit.has_rows = models > least_models + 1 &&
                   std::all_of(fit.points.begin(), fit.points.end(),
                               [](const ScalingPoint& point) { return point.rows > 0; });
    fit.has_fixed = models > least_models + (fit.has_rows ? 3 : 0);
    fit.two_levels = models > least_models + 1 && in_cache(fit, fit.points.front()) &&
                     !in_cache(fit, fit.points.back());
}

void hold_out(SpeedFit& fit, std::size_t i) {
    const Times ns = times_of(fit);
    ScalingPoint& point = fit.points[i];
    // A fit through exactly as many points as it has terms predicts by luck.
    const std::size_t terms = 2 + fit.has_fixed + fit.has_rows + fit.two_levels;
    // The only model of its level has nothing to be predicted from.
    const auto same_level = std::count_if(
        fit.points.begin(), fit.points.end(),
        [&](const ScalingPoint& other) { return in_cache(fit, other) == in_cache(fit, point); });
    const bool enough = ns.size() - 1 > terms && (!fit.two_levels || same_level > 1);
    const auto rest = enough ? solve_physical(fit, ns, i) : std::nullopt;
    point.held_out_ns = rest ? physical_ns(fit, point, *rest) : nan;
    const auto law = ns.size() > 3 ? least_squares(power(fit, ns, i), Sign::free) : std::nullopt;
    point.power_held_out_ns = law ? power_ns(point, *law) : nan;
}

void add_intervals(SpeedFit& fit, const PhysicalCost& centre, const std::vector<double>& law,
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
        drawn["fixed"].push_back(solution->fixed);
        drawn["product"].push_back(solution->product);
        drawn["row"].push_back(solution->row);
        drawn["cache byte"].push_back(solution->cache_byte);
        drawn["byte"].push_back(solution->byte);
        drawn["exponent"].push_back((*power_law)[1]);
        drawn["at 1e9"].push_back(std::exp((*power_law)[0]));
        fit.draws.push_back(*solution);
    }
    fit.fixed_ns = estimate_of(centre.fixed, drawn["fixed"]);
    fit.per_product_ns = estimate_of(centre.product, drawn["product"]);
    fit.per_row_ns = estimate_of(centre.row, drawn["row"]);
    fit.cache_bandwidth = inverse(estimate_of(centre.cache_byte, drawn["cache byte"]));
    fit.bandwidth = inverse(estimate_of(centre.byte, drawn["byte"]));
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

using Fits = std::vector<SpeedFit*>;  // of one device

// Sum of squared relative errors of all methods at one boundary, one model left out; infinite where
// a method cannot be fitted.
double misfit(const Fits& fits, double cache_bytes, const std::string& without) {
    double squares = 0;
    for (SpeedFit* fit : fits) {
        choose_terms(*fit, cache_bytes);
        const std::size_t left_out = index_of(*fit, without);
        const auto cost = solve_physical(*fit, times_of(*fit), left_out);
        for (std::size_t i = 0; i < fit->points.size(); ++i) {
            const ScalingPoint& point = fit->points[i];
            const double error = cost ? physical_ns(*fit, point, *cost) / point.ns - 1 : INFINITY;
            squares += i == left_out ? 0 : error * error;
        }
    }
    return squares;
}

// Between the sizes that were measured, where they lie apart; at most 16 of them.
std::vector<double> boundaries(const Fits& fits, const std::string& without) {
    constexpr double apart = 1.1;
    constexpr std::size_t most = 16;
    std::vector<double> bytes, between;
    for (const SpeedFit* fit : fits) {
        for (const ScalingPoint& point : fit->points) {
            if (point.model != without) {
                bytes.push_back(point.bytes);
            }
        }
    }
    std::sort(bytes.begin(), bytes.end());
    for (std::size_t i = 1; i < bytes.size(); ++i) {
        if (bytes[i] > apart * bytes[i - 1]) {
            between.push_back(std::sqrt(bytes[i] * bytes[i - 1]));
        }
    }
    std::vector<double> kept;
    const std::size_t stride = 1 + between.size() / most;
    for (std::size_t i = 0; i < between.size(); i += stride) {
        kept.push_back(between[i]);
    }
    return kept;
}

// How much a core may keep differs from machine to machine (4 to 500 MiB) and is shared: all
// methods of a CPU tell it together. The Bayesian criterion, twice over, since it was searched for
// (Schwarz, "Estimating the dimension of a model", 1978).
double cache_boundary(const Fits& fits, const std::string& without) {
    double count = 0;
    for (const SpeedFit* fit : fits) {
        count += static_cast<double>(fit->points.size());
    }
    double best = least_bytes_for_memory;
    if (!is_cpu(fits.front()->device)) {
        return best;
    }
    const double usual = misfit(fits, best, without);
    double least = usual * std::exp(-2 * std::log(count) / count);
    for (const double candidate : boundaries(fits, without)) {
        const double squares = misfit(fits, candidate, without);
        if (squares < least) {
            least = squares;
            best = candidate;
        }
    }
    return best;
}

bool fit_speed(SpeedFit& fit, const Resampling& how) {
    const Times ns = times_of(fit);
    const auto centre = solve_physical(fit, ns, nothing);
    const auto law = least_squares(power(fit, ns, nothing), Sign::free);
    if (!centre || !law) {
        return false;
    }
    for (ScalingPoint& point : fit.points) {
        point.fitted_ns = physical_ns(fit, point, *centre);
    }
    fit.condition = condition_number(physical(fit, ns, nothing));
    fit.residual = median_error(fit.points, &ScalingPoint::fitted_ns);
    fit.held_out = median_error(fit.points, &ScalingPoint::held_out_ns);
    fit.power_held_out = median_error(fit.points, &ScalingPoint::power_held_out_ns);
    add_intervals(fit, *centre, *law, how);
    return true;
}

// Every model predicted from the others, the boundary of the cache included.
void hold_out_each(const Fits& fits) {
    std::set<std::string> models;
    for (const SpeedFit* fit : fits) {
        for (const ScalingPoint& point : fit->points) {
            models.insert(point.model);
        }
    }
    for (const std::string& model : models) {
        const double boundary = cache_boundary(fits, model);
        for (SpeedFit* fit : fits) {
            choose_terms(*fit, boundary);
            if (const std::size_t i = index_of(*fit, model); i != nothing) {
                hold_out(*fit, i);
            }
        }
    }
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
    std::map<std::string, Fits> devices;
    for (const auto& key : order) {
        SpeedFit& fit = fits[key];
        std::sort(fit.points.begin(), fit.points.end(),
                  [](const ScalingPoint& a, const ScalingPoint& b) { return a.bytes < b.bytes; });
        if (distinct_models(fit.points) >= least_models) {
            devices[fit.device].push_back(&fit);
        }
    }
    for (const auto& [device, members] : devices) {
        hold_out_each(members);
        const double boundary = cache_boundary(members, "");
        for (SpeedFit* fit : members) {
            choose_terms(*fit, boundary);
        }
    }
    Scaling scaling;
    for (const auto& key : order) {
        SpeedFit& fit = fits[key];
        if (distinct_models(fit.points) >= least_models && fit_speed(fit, how)) {
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
