#include "results/analysis/latency.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double ns_per_s = 1e9;

bool is_cpu(const MeasuredCell& cell) {
    return cell.device.starts_with("cpu");
}

// Below it a cache may serve the bytes: what the fits of the device say, else 64 MiB
// (worker/metrics/bandwidth.cpp).
double cache_bytes_of(const MeasuredCell& cell, const Scaling& scaling) {
    constexpr double usual = 64.0 * 1048576;
    for (const SpeedFit& fit : scaling.speed) {
        if (fit.device == cell.device) {
            return fit.cache_bytes;
        }
    }
    return usual;
}

double at_least_zero(double value) {
    return value < 0 ? 0 : value;  // NaN stays
}

double product_cost(const MeasuredCell& cell, const Scaling& scaling) {
    for (const SpeedFit& fit : scaling.speed) {
        if (fit.device == cell.device && fit.method == cell.method) {
            for (const ScalingPoint& point : fit.points) {
                if (point.model == cell.model) {
                    return fit.fixed_ns.value + fit.per_product_ns.value * point.products +
                           fit.per_row_ns.value * point.rows;
                }
            }
        }
    }
    return nan;
}

// The rate is on the host's clock; the latencies of a card that runs free are on its own
// (worker/inference/trace.h). Where the host takes part in every token both are the host's, and the
// gap is 0.
double host_cost(const MeasuredCell& cell, double step_ns) {
    if (is_cpu(cell)) {
        return 0;
    }
    const double stored = cell.metric("host_gap_per_token");
    return std::isnan(stored) ? at_least_zero(step_ns - cell.metric("token_latency_mean")) : stored;
}

double launch_cost(const MeasuredCell& cell, const Scaling& scaling) {
    if (is_cpu(cell)) {
        return product_cost(cell, scaling);
    }
    const double launch = cell.metric("launch_latency"), node = cell.metric("graph_node_latency");
    const double nodes = cell.metric("graph_nodes_per_token");
    return cell.metric("launches_per_token") * (std::isnan(launch) ? node : launch) +
           (std::isnan(nodes) ? 0 : nodes * node);
}

// Of the same method without its outlier path, else null.
const MeasuredCell* without_outliers(const MeasuredCell& cell, const Evidence& evidence) {
    if (!cell.threshold || *cell.threshold == 0) {
        return nullptr;
    }
    for (const MeasuredCell& other : evidence.cells) {
        if (other.method_name == cell.method_name && other.threshold == 0.0 &&
            other.head_bits == cell.head_bits && other.same_place(cell)) {
            return &other;
        }
    }
    return nullptr;
}

double outlier_cost(const MeasuredCell& cell, const Evidence& evidence, double step_ns) {
    if (!cell.threshold) {
        return 0;
    }
    if (*cell.threshold == 0) {
        return 0;
    }
    const MeasuredCell* without = without_outliers(cell, evidence);
    if (without == nullptr) {
        return nan;
    }
    // Ratio of rates, paired: t(T) - t(0) = t(T) (1 - rate(T) / rate(0)).
    const double ratio = std::exp(cell.speedup_over(*without).centre());
    return std::max(0.0, step_ns * (1 - ratio));
}

// Fills the rest and keeps the sum equal to the step.
void balance(LatencySplit& split) {
    const double total = split.step_ns.centre;
    double& bytes = split.ns[part_bytes];
    split.from_cache = split.from_cache || bytes > total;
    bytes = split.from_cache ? nan : bytes;
    double known = 0;
    for (std::size_t i = 0; i < part_rest; ++i) {
        known += std::isnan(split.ns[i]) ? 0 : split.ns[i];
    }
    // Parts come from different measurements and may overlap: they are shrunk alike.
    if (known > total) {
        for (std::size_t i = 0; i < part_rest; ++i) {
            split.ns[i] *= total / known;
        }
        known = total;
    }
    split.ns[part_rest] = total - known;
}

LatencySplit split_of(const MeasuredCell& cell, const Evidence& evidence, const Scaling& scaling,
                      const Resampling& how) {
    LatencySplit split{cell.device, cell.model, cell.method, cell.repeats.front().host};
    const Interval rate = bootstrap_interval(cell.decode_rate(), how);
    const double steps = cell.batch * ns_per_s;
    split.step_ns = {steps / rate.centre, steps / rate.high, steps / rate.low};
    const MeasuredCell* base = evidence.baseline_of(cell);
    split.is_baseline = base == &cell;
    split.speedup = base == nullptr || split.is_baseline
                        ? Interval{nan, nan, nan}
                        : bootstrap_interval(cell.speedup_over(*base), how);
    split.ns[part_host] = host_cost(cell, split.step_ns.centre);
    split.ns[part_launches] = launch_cost(cell, scaling);
    split.ns[part_synchronise] =
        is_cpu(cell) ? 0 : cell.metric("syncs_per_token") * cell.metric("launch_round_trip");
    split.ns[part_bytes] =
        cell.metric("bytes_per_token") / cell.metric("read_bandwidth") * ns_per_s;
    split.from_cache = cell.metric("bytes_per_token") < cache_bytes_of(cell, scaling);
    split.ns[part_outliers] = outlier_cost(cell, evidence, split.step_ns.centre);
    split.ns[part_tail] =
        at_least_zero(cell.metric("token_latency_mean") - cell.metric("token_latency_p50"));
    balance(split);
    return split;
}

struct Source {
    LatencyPart part;
    const char* metric;
    const char* on_cpu;  // empty: the part exists on a CPU too
};
constexpr Source sources[] = {
    {part_host, "host_gap_per_token or token_latency_mean", "none"},
    {part_launches, "launches_per_token", "a fit over 3 or more sizes (analyze scaling)"},
    {part_synchronise, "syncs_per_token", "none"},
    {part_bytes, "bytes_per_token and read_bandwidth", ""},
    {part_outliers, "the same method at threshold 0", ""},
    {part_tail, "token_latency_mean and token_latency_p50", ""},
};

void list_missing(LatencyAnswer& answer) {
    std::set<std::string> said;
    for (const LatencySplit& split : answer.splits) {
        for (const Source& source : sources) {
            const bool cached = source.part == part_bytes && split.from_cache;
            if (!std::isnan(split.ns[source.part]) || cached) {
                continue;
            }
            const bool cpu = split.device.starts_with("cpu") && *source.on_cpu != 0;
            const std::string method = source.part == part_outliers ? " " + split.method : "";
            const std::string line = split.device + method + ": `" +
                                     std::string(name_of(source.part)) + "` needs " +
                                     (cpu ? source.on_cpu : source.metric) +
                                     ", which is not stored; its time stands under `rest`";
            if (said.insert(line).second) {
                answer.missing.push_back(line);
            }
        }
    }
}

}  // namespace

std::string_view name_of(LatencyPart part) {
    constexpr std::array<std::string_view, latency_parts> names = {
        "bytes", "launches", "host", "synchronisation", "outlier path", "tail", "rest"};
    return names[part];
}

LatencyAnswer split_latency(const Evidence& evidence, const Scaling& scaling,
                            const Resampling& how) {
    LatencyAnswer answer;
    std::vector<std::pair<std::string, std::string>> order;
    for (const MeasuredCell& cell : evidence.cells) {
        const auto key = std::pair(cell.device, cell.model);
        if (std::find(order.begin(), order.end(), key) == order.end()) {
            order.push_back(key);
        }
        if (cell.decode_rate().processes() > 0) {
            answer.splits.push_back(split_of(cell, evidence, scaling, how));
        }
    }
    const auto place = [&](const LatencySplit& split) {
        return std::pair(
            std::find(order.begin(), order.end(), std::pair(split.device, split.model)),
            !split.is_baseline);
    };
    std::stable_sort(answer.splits.begin(), answer.splits.end(),
                     [&](const auto& a, const auto& b) { return place(a) < place(b); });
    list_missing(answer);
    return answer;
}

}  // namespace bitsweep
