#include "results/analysis/crossover.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "results/analysis/compare.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double sure = 0.95;
constexpr std::size_t least_sizes = 2;

// The logarithm of the size at which the broken line through (log size, log ratio) rises above 0
// for the last time. Points by rising size; equal sizes are averaged.
double last_crossing(const std::vector<double>& sizes, const std::vector<double>& ratios) {
    std::vector<std::pair<double, double>> line;
    for (std::size_t i = 0; i < sizes.size();) {
        std::size_t next = i;
        double sum = 0;
        while (next < sizes.size() && sizes[next] == sizes[i]) {
            sum += ratios[next++];
        }
        line.emplace_back(std::log(sizes[i]), sum / static_cast<double>(next - i));
        i = next;
    }
    if (line.back().second <= 0) {
        return infinity;
    }
    for (std::size_t i = line.size() - 1; i > 0; --i) {
        const auto [x0, y0] = line[i - 1];
        const auto [x1, y1] = line[i];
        if (y0 <= 0) {
            return x0 + (x1 - x0) * (0 - y0) / (y1 - y0);
        }
    }
    return -infinity;
}

// A row for each resample: the logarithm of the ratio of every point. No row where a point has one
// pair of processes.
std::vector<std::vector<double>> resampled(const std::vector<CrossoverPoint>& points,
                                           const Resampling& how) {
    std::vector<std::vector<double>> draws;
    const bool single = std::any_of(points.begin(), points.end(), [](const CrossoverPoint& point) {
        return point.ratio.processes() < 2;
    });
    Random random(how.seed);
    for (int i = 0; !single && i < how.resamples; ++i) {
        std::vector<double>& ratios = draws.emplace_back();
        for (const CrossoverPoint& point : points) {
            ratios.push_back(point.ratio.draw(random));
        }
    }
    return draws;
}

CrossingPlace place_of(const std::vector<CrossoverPoint>& points, double CrossoverPoint::*size,
                       const std::vector<std::vector<double>>& resamples) {
    std::vector<std::size_t> order(points.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
        return points[x].*size < points[y].*size;
    });
    std::vector<double> sizes, ratios;
    for (const std::size_t i : order) {
        sizes.push_back(points[i].*size);
        ratios.push_back(points[i].ratio.centre());
    }
    CrossingPlace place;
    place.value = std::exp(last_crossing(sizes, ratios));
    if (resamples.empty()) {
        place.low = place.high = place.inside = place.always = place.never = nan;
        return place;
    }
    std::vector<double> draws;
    for (const std::vector<double>& drawn : resamples) {
        std::transform(order.begin(), order.end(), ratios.begin(),
                       [&](std::size_t i) { return drawn[i]; });
        draws.push_back(last_crossing(sizes, ratios));
    }
    std::sort(draws.begin(), draws.end());
    const auto share = [&](double value) {
        return static_cast<double>(std::count(draws.begin(), draws.end(), value)) /
               static_cast<double>(draws.size());
    };
    place.always = share(-infinity);
    place.never = share(infinity);
    place.inside = 1 - place.always - place.never;
    // The nearest rank: between a number and infinity there is nothing to interpolate.
    const auto rank = [&](double part) {
        return std::exp(draws[static_cast<std::size_t>(
            std::lround(part * static_cast<double>(draws.size() - 1)))]);
    };
    place.low = rank(0.025);
    place.high = rank(0.975);
    place.verdict = place.always >= sure   ? CrossoverClass::always
                    : place.never >= sure  ? CrossoverClass::never
                    : place.inside >= sure ? CrossoverClass::within
                                           : CrossoverClass::unresolved;
    return place;
}

const SpeedFit* fit_of(const Scaling& scaling, const std::string& device,
                       const std::string& method) {
    for (const SpeedFit& fit : scaling.speed) {
        if (fit.device == device && fit.method == method) {
            return &fit;
        }
    }
    return nullptr;
}

// What a layer weighs: weights over width^2, bytes of each weight, rows over width; medians over
// the models.
struct LayerWeight {
    double per_width_squared = nan, bytes = nan, rows_per_width = 0;
};

LayerWeight layer_weight(const Evidence& evidence, const std::string& device,
                         const std::string& method) {
    std::vector<double> ratios, bytes;
    for (const MeasuredCell& cell : evidence.cells) {
        const MeasuredCell* base = evidence.baseline_of(cell);
        if (cell.device != device || cell.method != method || cell.shape == nullptr ||
            base == nullptr) {
            continue;
        }
        const double weights = base->metric("weights_codes_bytes") / 2;
        const auto width = static_cast<double>(cell.shape->width);
        ratios.push_back(weights / static_cast<double>(cell.shape->layers) / (width * width));
        bytes.push_back((cell.metric("weights_codes_bytes") + cell.metric("weights_scales_bytes")) /
                        weights);
    }
    return {median(ratios), median(bytes)};
}

// The largest root of saved d^2 - longer d - dearer = 0: from there on bytes outweigh the rest.
double model_width(const PhysicalCost& a, const PhysicalCost& b, const LayerWeight& weight_a,
                   const LayerWeight& weight_b) {
    const double dearer = 4 * (a.product - b.product);
    const double longer = weight_a.rows_per_width * (a.row - b.row);
    const double saved =
        weight_a.per_width_squared * (b.byte * weight_b.bytes - a.byte * weight_a.bytes);
    if (saved <= 0) {
        return infinity;
    }
    const double inside = longer * longer + 4 * saved * dearer;
    return inside < 0 ? 0 : std::max(0.0, (longer + std::sqrt(inside)) / (2 * saved));
}

Estimate physical_crossing(const Evidence& evidence, const Scaling& scaling,
                           const Crossover& crossover) {
    const SpeedFit* a = fit_of(scaling, crossover.device, crossover.a);
    const SpeedFit* b = fit_of(scaling, crossover.device, crossover.b);
    LayerWeight weight_a = layer_weight(evidence, crossover.device, crossover.a);
    const LayerWeight weight_b = layer_weight(evidence, crossover.device, crossover.b);
    if (a == nullptr || b == nullptr || !std::isfinite(weight_a.bytes) ||
        !std::isfinite(weight_b.bytes)) {
        return {nan, nan, nan};
    }
    std::vector<double> rows;
    for (const ScalingPoint& point : a->points) {
        const ModelShape* shape = find_shape(point.model.substr(0, point.model.find(' ')));
        if (shape != nullptr) {
            rows.push_back(point.rows / static_cast<double>(shape->layers * shape->width));
        }
    }
    weight_a.rows_per_width = rows.empty() ? 0 : median(rows);
    const auto centre = [](const SpeedFit& fit) {
        return PhysicalCost{fit.fixed_ns.value, fit.per_product_ns.value, fit.per_row_ns.value,
                            1e9 / fit.cache_bandwidth.value, 1e9 / fit.bandwidth.value};
    };
    std::vector<double> draws;
    for (std::size_t i = 0; i < std::min(a->draws.size(), b->draws.size()); ++i) {
        draws.push_back(model_width(a->draws[i], b->draws[i], weight_a, weight_b));
    }
    std::sort(draws.begin(), draws.end());
    const auto rank = [&](double part) {
        return draws.empty() ? nan
                             : draws[static_cast<std::size_t>(
                                   std::lround(part * static_cast<double>(draws.size() - 1)))];
    };
    return {model_width(centre(*a), centre(*b), weight_a, weight_b), rank(0.025), rank(0.975)};
}

bool is_baseline(const MeasuredCell& cell, const Evidence& evidence) {
    return evidence.baseline_of(cell) == &cell;
}

struct Pair {
    const MeasuredCell* a;
    const MeasuredCell* b;
};

std::vector<Pair> pairs_of(const Evidence& evidence, const CrossoverQuestion& question) {
    std::vector<Pair> pairs;
    for (const MeasuredCell& a : evidence.cells) {
        if (question.a.empty() ? is_baseline(a, evidence) : a.method != question.a) {
            continue;
        }
        const MeasuredCell* b =
            question.b.empty() ? evidence.baseline_of(a) : evidence.partner_of(a, question.b);
        if (b != nullptr && b != &a) {
            pairs.push_back({&a, b});
        }
    }
    return pairs;
}

std::string setting_of(const MeasuredCell& cell) {
    return (cell.batch == 1 ? "" : "batch=" + std::to_string(cell.batch)) +
           (cell.head_bits == 16
                ? ""
                : (cell.batch == 1 ? "head " : ", head ") + std::to_string(cell.head_bits));
}

std::size_t sizes_of(const std::vector<CrossoverPoint>& points) {
    std::vector<double> sizes;
    for (const CrossoverPoint& point : points) {
        sizes.push_back(point.parameters);
    }
    std::sort(sizes.begin(), sizes.end());
    return static_cast<std::size_t>(std::unique(sizes.begin(), sizes.end()) - sizes.begin());
}

// A size with one pair of processes would take the interval from all the others.
void set_alone_aside(Crossover& crossover) {
    std::vector<CrossoverPoint> several, alone;
    for (CrossoverPoint& point : crossover.points) {
        (point.ratio.processes() > 1 ? several : alone).push_back(point);
    }
    if (sizes_of(several) >= least_sizes) {
        crossover.points = std::move(several);
        crossover.alone = std::move(alone);
    }
}

}  // namespace

Result<std::vector<Crossover>> find_crossovers(const Evidence& evidence, const Scaling& scaling,
                                               const CrossoverQuestion& question,
                                               const Resampling& how) {
    CrossoverQuestion asked = question;
    if (!asked.a.empty()) {
        asked.a = TRY(resolve_method(evidence, asked.a));
    }
    if (!asked.b.empty()) {
        asked.b = TRY(resolve_method(evidence, asked.b));
    }
    std::vector<Crossover> crossovers;
    for (const Pair& pair : pairs_of(evidence, asked)) {
        if (pair.a->shape == nullptr || pair.a->device != pair.b->device) {
            continue;
        }
        const Crossover made{pair.a->device, pair.a->method, pair.b->method, setting_of(*pair.a)};
        auto place = std::find_if(crossovers.begin(), crossovers.end(), [&](const Crossover& c) {
            return c.device == made.device && c.a == made.a && c.b == made.b &&
                   c.setting == made.setting;
        });
        if (place == crossovers.end()) {
            crossovers.push_back(made);
            place = crossovers.end() - 1;
        }
        CrossoverPoint point{pair.a->model, static_cast<double>(pair.a->shape->width),
                             pair.a->parameters()};
        point.ratio = pair.a->speedup_over(*pair.b);
        point.speedup = bootstrap_interval(point.ratio, how);
        if (point.ratio.processes() > 0) {
            place->points.push_back(std::move(point));
        }
    }
    std::erase_if(crossovers, [](const Crossover& c) { return sizes_of(c.points) < least_sizes; });
    if (crossovers.empty()) {
        return make_error(
            ErrorCode::not_found,
            "no pair of methods was measured on 2 or more models of the table of "
            "shapes on one device" +
                (asked.a.empty() ? ""
                                 : " (" + asked.a + " against " +
                                       (asked.b.empty() ? "16 bits" : asked.b) + ")"));
    }
    for (Crossover& crossover : crossovers) {
        set_alone_aside(crossover);
        std::stable_sort(crossover.points.begin(), crossover.points.end(),
                         [](const auto& x, const auto& y) { return x.parameters < y.parameters; });
        const auto resamples = resampled(crossover.points, how);
        crossover.width = place_of(crossover.points, &CrossoverPoint::width, resamples);
        crossover.parameters = place_of(crossover.points, &CrossoverPoint::parameters, resamples);
        crossover.model_width = physical_crossing(evidence, scaling, crossover);
    }
    return crossovers;
}

}  // namespace bitsweep
