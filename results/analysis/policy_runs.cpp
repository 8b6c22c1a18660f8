#include "results/analysis/policy_runs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "results/analysis/evidence.h"
#include "results/analysis/number_text.h"
#include "results/analysis/table_row.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr Interval unknown{nan, nan, nan};

// Tokens that are resampled together. Longer than a sentence; a text of 4,096 has 32 of them.
constexpr std::size_t block_tokens = 128;

std::string key_of(const std::string& series, const std::string& kind, const std::string& name) {
    return series + "\n" + kind + "\n" + name;
}

std::optional<LayerPolicy> policy_of(const std::string& spec_json) {
    const auto spec = nlohmann::json::parse(spec_json, nullptr, false);
    if (!spec.is_object() || !spec.contains("policy") || !spec["policy"].is_string()) {
        return std::nullopt;
    }
    const auto policy = policy_from_json(spec["policy"].get<std::string>());
    return policy ? std::optional(*policy) : std::nullopt;
}

double sum(std::span<const double> values) {
    double total = 0;
    for (const double value : values) {
        total += value;
    }
    return total;
}

// Sums of whole blocks; the rest of the text is a shorter one.
std::vector<double> block_sums(const std::vector<double>& tokens) {
    std::vector<double> sums;
    for (std::size_t at = 0; at < tokens.size(); at += block_tokens) {
        sums.push_back(
            sum(std::span(tokens).subspan(at, std::min(block_tokens, tokens.size() - at))));
    }
    return sums;
}

// Enough for the median of a process, and few enough to draw a thousand times.
constexpr std::size_t most_latencies = 256;

std::vector<double> thinned(std::vector<double> values) {
    if (values.size() <= most_latencies) {
        return values;
    }
    std::vector<double> kept;
    for (std::size_t i = 0; i < most_latencies; ++i) {
        kept.push_back(values[i * values.size() / most_latencies]);
    }
    return kept;
}

// By run: the latencies of its tokens.
Result<std::map<std::int64_t, std::vector<double>>> read_latencies(Store& store,
                                                                   const std::string& model) {
    const Table rows = TRY(store.query(
        "SELECT s.run, s.\"values\" AS ns FROM samples s WHERE s.metric = 'token_latency'"
        " AND s.run IN (SELECT run FROM v_cells WHERE method = 'mixed' AND model = " +
        sql_text(model) + ")"));
    std::map<std::int64_t, std::vector<double>> latencies;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        latencies[row.integer("run")] = thinned(numbers_of(row.label("ns")));
    }
    return latencies;
}

ProcessSampler paired_times(const RunPair& pair) {
    std::vector<Process> processes;
    for (const PolicyRun::Timed& over : pair.over->times) {
        const auto under =
            std::ranges::find(pair.under->times, over.repeat, &PolicyRun::Timed::repeat);
        if (under != pair.under->times.end()) {
            processes.push_back({over.ns, under->ns});
        }
    }
    return ProcessSampler(processes);
}

// Of the two runs of a pair.
struct Blocks {
    std::vector<double> over, under;
};

double log_ratio(const Blocks& blocks, std::span<const std::size_t> drawn) {
    double over = 0;
    double under = 0;
    for (const std::size_t block : drawn) {
        over += blocks.over[block];
        under += blocks.under[block];
    }
    return over > 0 && under > 0 ? std::log(over / under) : nan;
}

Interval between(double centre, std::vector<double> draws, double confidence) {
    std::erase_if(draws, [](double value) { return std::isnan(value); });
    if (draws.empty()) {
        return {centre, nan, nan};
    }
    std::sort(draws.begin(), draws.end());
    const double tail = (1 - confidence) / 2;
    return {centre, percentile(draws, tail), percentile(draws, 1 - tail)};
}

}  // namespace

Result<std::vector<PolicyRun>> read_policy_runs(Store& store, const std::string& model) {
    const Table rows =
        TRY(store.query("SELECT c.series, c.device, c.device_name, j.spec, s.\"values\" AS tokens,"
                        " (SELECT value FROM measurements WHERE run = c.run AND sample = 0"
                        "  AND metric = 'kl_mean') AS kl"
                        " FROM v_cells c JOIN jobs j ON j.id = c.job"
                        " LEFT JOIN samples s ON s.run = c.run AND s.metric = 'kl'"
                        " WHERE c.method = 'mixed' AND c.model = " +
                        sql_text(model) + " ORDER BY c.position"));
    std::vector<PolicyRun> runs;
    if (rows.rows.empty()) {
        return runs;
    }
    std::map<std::string, std::size_t> known;
    std::vector<std::vector<double>> kl;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        const auto policy = policy_of(row.label("spec"));
        if (!policy) {
            continue;
        }
        const std::string key =
            key_of(row.label("series"), row.label("device"), row.label("device_name"));
        const auto [entry, is_new] = known.try_emplace(key, runs.size());
        if (is_new) {
            runs.push_back({*policy, row.label("device"), nan, {}, {}});
            kl.emplace_back();
        }
        if (const double value = row.number("kl"); !std::isnan(value)) {
            kl[entry->second].push_back(value);
            runs[entry->second].kl_tokens = numbers_of(row.label("tokens"));
        }
    }
    auto latencies = TRY(read_latencies(store, model));
    const Evidence evidence = TRY(read_evidence(store, {"", "", model}));
    for (const MeasuredCell& cell : evidence.cells) {
        const auto entry = known.find(key_of(cell.series, cell.kind, cell.device_name));
        if (entry != known.end()) {
            for (const Repeat& repeat : cell.repeats) {
                runs[entry->second].times.push_back({repeat.repeat, latencies[repeat.run]});
            }
        }
    }
    for (std::size_t i = 0; i < runs.size(); ++i) {
        runs[i].kl = median(kl[i]);
    }
    return runs;
}

double PolicyRun::step_ns() const {
    std::vector<double> medians;
    for (const Timed& process : times) {
        medians.push_back(median(process.ns));
    }
    return median(medians);
}

std::string uniform_method(const LayerPolicy& policy) {
    const std::string& first = policy.layers.begin()->second;
    const bool uniform = std::ranges::all_of(
        policy.layers, [&](const auto& layer) { return layer.second == first; });
    return uniform ? first : "";
}

bool is_random(const LayerPolicy& policy) {
    return policy.name.starts_with("random ");
}

bool is_found(const LayerPolicy& policy) {
    return !policy.budget.empty() && !policy.gpu.empty();
}

Interval time_ratio(std::span<const RunPair> pairs, const Resampling& how) {
    std::vector<ProcessSampler> samplers;
    double centre = 0;
    bool several = true;
    for (const RunPair& pair : pairs) {
        samplers.push_back(paired_times(pair));
        centre += samplers.back().centre() / static_cast<double>(pairs.size());
        several = several && samplers.back().processes() > 1;
    }
    if (!several || samplers.empty()) {
        return {samplers.empty() ? nan : std::exp(centre), nan, nan};
    }
    Random random(how.seed);
    std::vector<double> draws;
    for (int i = 0; i < how.resamples; ++i) {
        double mean = 0;
        for (const ProcessSampler& sampler : samplers) {
            mean += sampler.draw(random) / static_cast<double>(samplers.size());
        }
        draws.push_back(std::exp(mean));
    }
    return between(std::exp(centre), std::move(draws), how.confidence);
}

Interval kl_ratio(std::span<const RunPair> pairs, const Resampling& how) {
    std::vector<Blocks> blocks;
    double centre = 0;
    bool comparable = !pairs.empty();
    for (const auto& [over, under] : pairs) {
        if (!(over->kl > 0) || !(under->kl > 0)) {
            return unknown;
        }
        centre += std::log(over->kl / under->kl) / static_cast<double>(pairs.size());
        blocks.push_back({block_sums(over->kl_tokens), block_sums(under->kl_tokens)});
        comparable = comparable && over->kl_tokens.size() == under->kl_tokens.size() &&
                     blocks.back().over.size() == blocks.front().over.size() &&
                     blocks.back().over.size() > 1;
    }
    if (!comparable) {
        return {pairs.empty() ? nan : std::exp(centre), nan, nan};
    }
    Random random(how.seed);
    std::vector<double> draws;
    std::vector<std::size_t> drawn(blocks.front().over.size());
    for (int i = 0; i < how.resamples; ++i) {
        std::ranges::generate(drawn, [&] { return random.index(drawn.size()); });
        double mean = 0;
        for (const Blocks& pair : blocks) {
            mean += log_ratio(pair, drawn) / static_cast<double>(blocks.size());
        }
        draws.push_back(std::exp(mean));
    }
    return between(std::exp(centre), std::move(draws), how.confidence);
}

Interval rank_correlation_interval(std::span<const double> a, std::span<const double> b,
                                   const Resampling& how) {
    const double centre = rank_correlation(a, b);
    if (std::isnan(centre)) {
        return unknown;
    }
    Random random(how.seed);
    std::vector<double> draws;
    std::vector<double> x(a.size());
    std::vector<double> y(b.size());
    for (int i = 0; i < how.resamples; ++i) {
        for (std::size_t k = 0; k < a.size(); ++k) {
            const std::size_t drawn = random.index(a.size());
            x[k] = a[drawn];
            y[k] = b[drawn];
        }
        draws.push_back(rank_correlation(x, y));  // NaN where one pair was drawn every time
    }
    return between(centre, std::move(draws), how.confidence);
}

std::string ratio_interval_text(const Interval& interval) {
    if (std::isnan(interval.centre)) {
        return "-";
    }
    return ratio_text(interval.centre) +
           (interval.known()
                ? " (" + ratio_text(interval.low) + " to " + ratio_text(interval.high) + ")"
                : "");
}

}  // namespace bitsweep
