#include "results/analysis/quality_fit.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "results/analysis/fit.h"
#include "results/analysis/student.h"
#include "schemas/catalog/methods.h"

namespace bitsweep {
namespace {

constexpr std::size_t least_points = 5;
constexpr int baseline_bits = 16;

// Bits of a packed weight, scales included: the baseline stores two bytes of each.
double bits_per_weight(const MeasuredCell& cell, const MeasuredCell& base) {
    const double weights = base.metric("weights_codes_bytes") / 2;
    return 8 * (cell.metric("weights_codes_bytes") + cell.metric("weights_scales_bytes")) / weights;
}

// GGUF names quantised types by a Q: "Q4_1", "Q6_K", "IQ4_XS".
bool stored_quantised(const MeasuredCell& cell) {
    return cell.stored_types.find('Q') != std::string::npos;
}

void add_points(const Evidence& evidence, QualityFit& fit) {
    std::set<std::pair<std::string, std::string>> seen;  // quality does not depend on the device
    for (const MeasuredCell& cell : evidence.cells) {
        const auto method = parse_method(cell.method_name);
        const MeasuredCell* base = evidence.baseline_of(cell);
        const double kl = cell.metric("kl_mean");
        if (!method || method->rounds_activations || method->weight_bits >= baseline_bits ||
            base == nullptr || !(kl > 0) || cell.head_bits != baseline_bits) {
            continue;
        }
        if (stored_quantised(cell)) {
            const std::string line = cell.model + " (stored as " + cell.stored_types + ")";
            if (std::find(fit.left_out.begin(), fit.left_out.end(), line) == fit.left_out.end()) {
                fit.left_out.push_back(line);
            }
            continue;
        }
        const QualityFit::Point point{cell.model, cell.method, bits_per_weight(cell, *base),
                                      cell.parameters(), kl};
        if (std::isfinite(point.bits) && std::isfinite(point.parameters) &&
            seen.insert({cell.model, cell.method}).second) {
            fit.points.push_back(point);
        }
    }
}

std::vector<Observation> observations(const std::vector<QualityFit::Point>& points,
                                      const std::string& left_out) {
    std::vector<Observation> data;
    for (const QualityFit::Point& point : points) {
        if (point.model != left_out) {
            data.push_back({{1, point.bits, std::log(point.parameters)}, std::log(point.kl)});
        }
    }
    return data;
}

Estimate estimate(double value, double error, double quantile) {
    return {value, value - quantile * error, value + quantile * error};
}

}  // namespace

QualityFit fit_quality(const Evidence& evidence) {
    QualityFit fit;
    add_points(evidence, fit);
    const auto data = observations(fit.points, "");
    if (fit.points.size() < least_points) {
        return fit;
    }
    const auto solution = least_squares(data, Sign::free);
    const auto errors = solution ? standard_errors(data, *solution) : std::vector<double>{};
    if (errors.empty()) {
        return fit;
    }
    fit.known = true;
    const double quantile = student_quantile(0.95, static_cast<double>(data.size() - 3));
    fit.intercept = estimate((*solution)[0], errors[0], quantile);
    fit.per_bit = estimate((*solution)[1], errors[1], quantile);
    fit.per_log_size = estimate((*solution)[2], errors[2], quantile);
    std::vector<double> factors;
    for (QualityFit::Point& point : fit.points) {
        const auto rest = least_squares(observations(fit.points, point.model), Sign::free);
        if (rest) {
            const std::vector<double> x = {1, point.bits, std::log(point.parameters)};
            point.held_out = std::exp(predict(x, *rest));
            factors.push_back(std::max(point.held_out / point.kl, point.kl / point.held_out));
        }
    }
    fit.held_out_factor = median(factors);
    return fit;
}

}  // namespace bitsweep
