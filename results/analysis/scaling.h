// How time per token grows with a model, and quality with bits and size: fits with named
// coefficients, their intervals, their residuals, and what they predict of a model they never saw.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"

namespace bitsweep {

// A coefficient with its 95 % interval.
struct Estimate {
    double value = 0, low = 0, high = 0;
};

// One measured model of a fit.
struct ScalingPoint {
    std::string model;
    double width = 0, parameters = 0;  // NaN outside the table of shapes
    double products = 0;               // weight products (or launches) of one decode step
    double rows = 0;                   // outputs of the method's products; 0 on a card
    double bytes = 0;                  // read by one decode step
    double ns = 0;                     // per decode step: geometric mean over processes
    double fitted_ns = 0;              // by the physical model
    double held_out_ns = 0;        // predicted by the same model fitted without this one; or NaN
    double power_held_out_ns = 0;  // likewise by the power law
    ProcessSampler rate{{}};       // of decode_tokens_per_s
    int batch = 1;
};

// Coefficients of the physical model, in nanoseconds; 0 where a term is not part of it.
struct PhysicalCost {
    double fixed = 0, product = 0, row = 0;
    double cache_byte = 0, byte = 0;  // equal, where only one of the levels was measured
};

// Time of one decode step, in nanoseconds:
//   physical   t = fixed + per_product x products + per_row x rows + bytes / bandwidth, all terms
//              >= 0; where some models fit a cache and some do not, caches and memory have a
//              bandwidth each
//   power law  t = ns_at_1e9 x (parameters / 1e9)^exponent
// weighted by 1/t, so that relative errors count. Products are what a device launches for a token
// (launches_per_token and graph_nodes_per_token); where that is less, as on a CPU, the weight
// products: 4 per layer and the head (attention input, attention output, MLP in, MLP out). Rows are
// the outputs of the method's own products, on a CPU only: each ends in a sum over lanes and a
// scale, whatever its length; a card hides it.
// Bandwidth is effective: it holds whatever grows with bytes.
struct SpeedFit {
    std::string device, method;
    std::vector<ScalingPoint> points;  // by rising bytes
    bool has_fixed = true;             // with few models the fixed term is left out
    bool has_rows = false;
    bool two_levels = false;  // cache and memory differ
    // Fewer bytes a token than this come from a cache. 64 MiB, unless on a CPU all methods together
    // are clearly told better by another boundary.
    double cache_bytes = 0;
    Estimate fixed_ns, per_product_ns, per_row_ns;
    // B/s, infinite: bytes cost nothing. Equal, where only one of the levels was measured.
    Estimate cache_bandwidth, bandwidth;
    Estimate exponent, ns_at_1e9;
    double condition = 0;
    double residual = 0, held_out = 0, power_held_out = 0;  // median relative errors; NaN: too few
    std::vector<PhysicalCost> draws;                        // of each resample
};

// ln KL = intercept + per_bit x bits + per_log_size x ln(parameters), ordinary least squares over
// models and weight-only methods below 16 bits; bits count scales. Rounding noise of uniform codes
// falls fourfold per bit: ln 4 = 1.39 would be -1.39.
struct QualityFit {
    struct Point {
        std::string model, method;
        double bits = 0, parameters = 0, kl = 0;
        double held_out = std::numeric_limits<double>::quiet_NaN();  // NaN: no fit to the others
    };
    std::vector<Point> points;
    Estimate intercept, per_bit, per_log_size;
    double held_out_factor = 0;  // median of max(predicted/measured, measured/predicted)
    // Models whose files were quantised before any method saw them: their loss says nothing of
    // bits.
    std::vector<std::string> left_out;  // "smollm2-135m (stored as Q4_1)"
    bool known = false;
};

struct Scaling {
    std::vector<SpeedFit> speed;       // by device, then method
    std::vector<std::string> too_few;  // "cpu int8: 2 models, a fit needs 3"
    QualityFit quality;
};

Scaling fit_scaling(const Evidence& evidence, const Resampling& how);
Finding scaling_finding(const Scaling& scaling);

}  // namespace bitsweep
