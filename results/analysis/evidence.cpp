#include "results/analysis/evidence.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "results/analysis/labels.h"
#include "schemas/catalog/baseline.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Status check_known(Store& store, const std::string& noun, const std::string& wanted,
                   const std::string& names_sql) {
    if (wanted.empty()) {
        return {};
    }
    const Table names = TRY(store.query(names_sql));
    std::string known;
    for (const auto& row : names.rows) {
        if (row.front().text == wanted) {
            return {};
        }
        known += (known.empty() ? "" : ", ") + row.front().text;
    }
    return make_error(ErrorCode::not_found,
                      "no " + noun + " `" + wanted + "` in this database" +
                          (known.empty() ? "; it has none" : "; it has " + known));
}

std::string where_of(const EvidenceQuestion& question) {
    std::string where = " WHERE 1";
    if (!question.experiment.empty()) {
        where += " AND c.experiment = " + sql_text(question.experiment);
    }
    if (!question.device.empty()) {
        where += " AND c.device = " + sql_text(question.device);
    }
    if (!question.model.empty()) {
        where += " AND c.model = " + sql_text(question.model);
    }
    return where;
}

// What the analyses ask of a run, sorted. A run has some 50 metrics and one more for each layer:
// reading them all was most of a report's time.
constexpr std::array<std::string_view, 30> run_metrics = {
    "activations_bytes",    "allocated_bytes",       "bits_per_byte",      "bytes_per_token",
    "cpu_energy_per_token", "decode_tokens_per_s",   "embeddings_bytes",   "energy_per_token",
    "graph_node_latency",   "graph_nodes_per_token", "host_gap_per_token", "kl_mean",
    "kv_cache_bytes",       "launch_latency",        "launch_round_trip",  "launches_per_token",
    "other_weights_bytes",  "outlier_columns",       "outlier_layers",     "perplexity",
    "read_bandwidth",       "syncs_per_token",       "text_identical",     "token_latency_mean",
    "token_latency_p50",    "top1_agreement",        "weights_bytes",      "weights_codes_bytes",
    "weights_scales_bytes", "workspace_bytes"};

using RunMetrics = std::unordered_map<std::int64_t, std::map<std::string, double>>;

Result<RunMetrics> read_metrics(Store& store, const std::string& where) {
    std::string names = window_flags_sql();
    for (const std::string_view name : run_metrics) {
        names += ", '" + std::string(name) + "'";
    }
    const Table table =
        TRY(store.query("SELECT m.run, m.metric, m.value FROM measurements m WHERE m.run IN"
                        " (SELECT c.run FROM v_cells c" +
                        where + ") AND m.sample = 0 AND m.metric IN (" + names + ")"));
    RunMetrics metrics;
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
        const Row row(table, i);
        metrics[row.integer("run")][row.label("metric")] = row.number("value");
    }
    return metrics;
}

std::string place_of(const Row& row) {
    std::string place;
    for (const char* column : {"model", "weights", "kv", "batch", "prompt_tokens", "new_tokens",
                               "protocol", "threads", "seed", "prompt"}) {
        place += row.label(column) + "\n";
    }
    return place;
}

MeasuredCell start_cell(const Row& row, const Labels& labels) {
    MeasuredCell cell;
    cell.experiment = row.label("experiment");
    cell.series = row.label("series");
    cell.place = place_of(row);
    cell.model = labels.model(row);
    cell.model_name = row.label("model");
    cell.method = labels.method(row);
    cell.method_name = row.label("method");
    if (const double threshold = row.number("threshold"); !std::isnan(threshold)) {
        cell.threshold = threshold;
    }
    cell.device = labels.device(row);
    cell.kind = row.label("device");
    cell.device_name = row.label("device_name");
    cell.head_bits = static_cast<int>(row.integer("head"));
    cell.batch = static_cast<int>(row.integer("batch"));
    cell.numerics = static_cast<int>(row.integer("numerics_revision"));
    cell.kv = row.label("kv");
    cell.stored_types = row.label("stored_types");
    cell.prompt_tokens = row.integer("prompt_tokens");
    cell.new_tokens = row.integer("new_tokens");
    cell.shape = find_shape(cell.model_name);
    if (const auto method = parse_method(cell.method_name)) {
        cell.weight_bits = method->weight_bits;
    }
    return cell;
}

std::string cell_key(const Row& row) {
    return row.label("series") + "\n" + row.label("device") + "\n" + row.label("device_name") +
           "\n" + row.label("numerics_revision");
}

// Run order is shuffled; people read models as they began, the baseline first, then from many bits
// to few.
void sort_for_reading(std::vector<MeasuredCell>& cells) {
    std::map<std::string, std::size_t> models;
    for (const MeasuredCell& cell : cells) {
        models.try_emplace(cell.model, models.size());
    }
    const auto key = [&](const MeasuredCell& cell) {
        return std::tuple(models.at(cell.model), !is_baseline(cell.method_name), -cell.weight_bits,
                          std::string_view(cell.method_name), cell.threshold.value_or(0));
    };
    std::stable_sort(cells.begin(), cells.end(),
                     [&](const MeasuredCell& a, const MeasuredCell& b) { return key(a) < key(b); });
}

// A method that ran with several heads is several methods to a reader.
void name_heads(Evidence& evidence) {
    std::map<std::string, std::set<int>> heads;
    const auto for_all = [&](const auto& visit) {
        std::for_each(evidence.cells.begin(), evidence.cells.end(), visit);
        std::for_each(evidence.excluded.begin(), evidence.excluded.end(), visit);
    };
    for_all([&](const auto& one) { heads[one.method].insert(one.head_bits); });
    std::set<std::string> several;
    for (const auto& [method, bits] : heads) {
        if (bits.size() > 1) {
            several.insert(method);
        }
    }
    for_all([&](auto& one) {
        if (several.contains(one.method)) {
            one.method += " head " + std::to_string(one.head_bits);
        }
    });
}

}  // namespace

double MeasuredCell::metric(const std::string& name) const {
    ASSERT(std::ranges::binary_search(run_metrics, name));  // else add it there
    std::vector<double> values;
    for (const Repeat& repeat : repeats) {
        const auto found = repeat.metrics.find(name);
        if (found != repeat.metrics.end() && !std::isnan(found->second)) {
            values.push_back(found->second);
        }
    }
    return median(values);
}

double MeasuredCell::parameters() const {
    return shape == nullptr ? nan : static_cast<double>(shape->parameters);
}

ProcessSampler MeasuredCell::decode_rate() const {
    std::vector<Process> processes;
    for (const Repeat& repeat : repeats) {
        processes.push_back({repeat.decode_rates, {}});
    }
    return ProcessSampler(processes);
}

ProcessSampler MeasuredCell::speedup_over(const MeasuredCell& base) const {
    std::vector<Process> pairs;
    for (const Repeat& mine : repeats) {
        const auto other =
            std::find_if(base.repeats.begin(), base.repeats.end(),
                         [&](const Repeat& repeat) { return repeat.repeat == mine.repeat; });
        if (other != base.repeats.end()) {
            pairs.push_back({mine.decode_rates, other->decode_rates});
        }
    }
    return ProcessSampler(pairs);
}

bool MeasuredCell::same_place(const MeasuredCell& other) const {
    return place == other.place && device == other.device && device_name == other.device_name;
}

namespace {

// Among cells that may stand against `cell`, the one whose key is the largest.
template <class Admits>
const MeasuredCell* best_partner(const std::vector<MeasuredCell>& cells, const MeasuredCell& cell,
                                 const Admits& admits) {
    const auto key = [&](const MeasuredCell& other) {
        return std::tuple(other.head_bits == cell.head_bits, other.method_name == "fp16",
                          other.numerics);
    };
    const MeasuredCell* best = nullptr;
    for (const MeasuredCell& other : cells) {
        const bool fits = other.head_bits == cell.head_bits || other.head_bits == 16;
        if (fits && admits(other) && other.same_place(cell) &&
            (best == nullptr || key(other) > key(*best))) {
            best = &other;
        }
    }
    return best;
}

}  // namespace

const MeasuredCell* Evidence::partner_of(const MeasuredCell& cell,
                                         const std::string& method) const {
    return best_partner(cells, cell,
                        [&](const MeasuredCell& other) { return other.method == method; });
}

const MeasuredCell* Evidence::baseline_of(const MeasuredCell& cell) const {
    return best_partner(cells, cell,
                        [](const MeasuredCell& other) { return is_baseline(other.method_name); });
}

std::vector<std::string> Evidence::devices() const {
    std::vector<std::string> names;
    for (const MeasuredCell& cell : cells) {
        if (std::find(names.begin(), names.end(), cell.device) == names.end()) {
            names.push_back(cell.device);
        }
    }
    return names;
}

std::vector<std::string> Evidence::methods() const {
    std::vector<std::string> names;
    for (const MeasuredCell& cell : cells) {
        if (std::find(names.begin(), names.end(), cell.method) == names.end()) {
            names.push_back(cell.method);
        }
    }
    return names;
}

std::string LeftOutRun::text() const {
    return model + " " + method + " on " + device + ", repeat " + std::to_string(repeat) + ": " +
           why;
}

std::vector<std::string> Evidence::left_out() const {
    constexpr std::size_t few = 6;
    std::vector<std::string> lines;
    std::map<std::string, int> reasons;
    for (const LeftOutRun& run : excluded) {
        if (excluded.size() <= few) {
            lines.push_back(run.text());
        } else {
            ++reasons[run.why.substr(0, run.why.find(" ("))];  // a drift's numbers are its own
        }
    }
    for (const auto& [reason, runs] : reasons) {
        lines.push_back(std::to_string(runs) + (runs == 1 ? " run: " : " runs: ") + reason +
                        " (`query --view v_windows`)");
    }
    return lines;
}

std::vector<LeftOutRun> Evidence::left_out_of(const std::string& name) const {
    std::vector<LeftOutRun> runs;
    for (const LeftOutRun& run : excluded) {
        if (run.method == name || run.method.substr(0, run.method.find(' ')) == name ||
            run.device == name) {
            runs.push_back(run);
        }
    }
    return runs;
}

Result<Evidence> read_evidence(Store& store, const EvidenceQuestion& question) {
    TRY(check_known(store, "experiment", question.experiment, "SELECT name FROM experiments"));
    TRY(check_known(store, "device", question.device,
                    "SELECT DISTINCT device FROM v_cells ORDER BY 1"));
    TRY(check_known(store, "model", question.model,
                    "SELECT DISTINCT model FROM v_cells ORDER BY 1"));
    const std::string where = where_of(question);
    const Table rows =
        TRY(store.query(std::string("SELECT c.*, ") + policy_name_column +
                        ", j.numerics_revision, j.spec ->> '$.prompt' AS prompt,"
                        " r.provenance ->> 'weights_type' AS stored_types, r.provenance ->> 'host' "
                        "AS host, s.\"values\" AS rates"
                        " FROM v_cells c JOIN jobs j ON j.id = c.job JOIN runs r ON r.id = c.run"
                        " LEFT JOIN samples s ON s.run = c.run AND s.metric = 'decode_rate'" +
                        where + " ORDER BY c.position"));
    RunMetrics metrics = TRY(read_metrics(store, where));
    const Labels labels(rows);
    Evidence evidence;
    std::map<std::string, std::size_t> index;
    std::set<std::int64_t> seen;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        Repeat repeat;
        repeat.run = row.integer("run");
        if (!seen.insert(repeat.run).second) {
            continue;  // the same cell of another experiment
        }
        repeat.repeat = static_cast<int>(row.integer("repeat"));
        repeat.host = row.label("host");
        if (const auto found = metrics.find(repeat.run); found != metrics.end()) {
            repeat.metrics = std::move(found->second);
        }
        repeat.decode_rates = numbers_of(row.label("rates"));
        const auto rate = repeat.metrics.find("decode_tokens_per_s");
        if (repeat.decode_rates.empty() && rate != repeat.metrics.end()) {
            repeat.decode_rates = {rate->second};
        }
        const std::string invalid = why_invalid(repeat.metrics, repeat.decode_rates);
        if (!invalid.empty()) {
            const MeasuredCell cell = start_cell(row, labels);
            evidence.excluded.push_back(
                {cell.model, cell.method, cell.device, cell.head_bits, repeat.repeat, invalid});
            continue;
        }
        const auto [place, is_new] = index.try_emplace(cell_key(row), evidence.cells.size());
        if (is_new) {
            evidence.cells.push_back(start_cell(row, labels));
        }
        evidence.cells[place->second].repeats.push_back(std::move(repeat));
    }
    name_heads(evidence);
    sort_for_reading(evidence.cells);
    return evidence;
}

}  // namespace bitsweep
