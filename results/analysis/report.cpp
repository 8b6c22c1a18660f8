#include "results/analysis/report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "results/analysis/labels.h"
#include "results/analysis/table_row.h"

namespace bitsweep {
namespace {

constexpr double ms_per_minute = 60'000;

bool is_sixteen_bits(const std::string& method) {
    return method == "fp16" || method == "f16" || method == "bf16" || method == "baseline";
}

// Rows of one file, tool, card, model and batch are compared among themselves only.
std::vector<ExternalSpeedup> speedups_of(const Table& rows) {
    const auto group = [](const Row& row) {
        return row.label("file") + "\n" + row.label("gpu") + "\n" + row.label("model") + "\n" +
               row.label("batch") + "\n" + row.label("new_tokens");
    };
    std::map<std::string, double> bases;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        const double rate = row.number("decode_tokens_per_s");
        if (is_sixteen_bits(row.label("method")) && rate > 0) {
            bases.try_emplace(group(row), rate);
        }
    }
    std::vector<ExternalSpeedup> speedups;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        const auto base = bases.find(group(row));
        const double rate = row.number("decode_tokens_per_s");
        if (base != bases.end() && rate > 0 && !is_sixteen_bits(row.label("method"))) {
            speedups.push_back({row.label("gpu"), row.label("model"), row.label("method"),
                                row.label("tool"), row.label("file"), row.number("parameters"),
                                rate / base->second});
        }
    }
    return speedups;
}

// The label of a device, as the evidence calls it.
std::string device_label(const Evidence& evidence, const Row& row) {
    for (const MeasuredCell& cell : evidence.cells) {
        if (cell.kind == row.label("device") && cell.device_name == row.label("device_name")) {
            return cell.device;
        }
    }
    return row.label("device");
}

Result<std::vector<RunInOrder>> read_order(Store& store, const std::string& where,
                                           const Evidence& evidence) {
    const Table table =
        TRY(store.query("SELECT c.model, c.method, c.threshold, c.repeat, c.device, c.device_name,"
                        " c.series, c.started_unix_ms, m.value AS rate FROM v_cells c"
                        " JOIN measurements m ON m.run = c.run AND m.sample = 0"
                        " AND m.metric = 'decode_tokens_per_s'" +
                        where + " ORDER BY c.started_unix_ms, c.run"));
    std::map<std::string, std::vector<double>> rates;
    std::map<std::string, double> first;
    const auto cell = [](const Row& row) {
        return row.label("series") + "\n" + row.label("device") + "\n" + row.label("device_name");
    };
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
        const Row row(table, i);
        rates[cell(row)].push_back(row.number("rate"));
        first.try_emplace(device_label(evidence, row), row.number("started_unix_ms"));
    }
    std::vector<RunInOrder> order;
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
        const Row row(table, i);
        const std::vector<double>& all = rates[cell(row)];
        if (all.size() < 2) {
            continue;
        }
        const std::string device = device_label(evidence, row);
        order.push_back(
            {device,
             row.label("model") + " " + method_label(row) + " repeat " + row.label("repeat"),
             (row.number("started_unix_ms") - first[device]) / ms_per_minute,
             row.number("rate") / median(all)});
    }
    return order;
}

Result<std::string> read_yaml(Store& store, const std::string& name) {
    for (const StoredExperiment& experiment : TRY(store.experiments())) {
        if (experiment.name.value == name) {
            return experiment.yaml;
        }
    }
    return std::string();
}

}  // namespace

Result<Report> make_report(Store& store, const ExperimentName& experiment, const Resampling& how) {
    Report report;
    report.how = how;
    report.evidence = TRY(read_evidence(store, {experiment.value, "", ""}));
    report.summary = TRY(summarize(store, experiment, report.evidence));
    report.yaml = TRY(read_yaml(store, experiment.value));
    report.scaling = fit_scaling(report.evidence, how);
    // No method on two sizes is no mistake here: the section is left out.
    if (auto found = find_crossovers(report.evidence, report.scaling, {}, how)) {
        report.crossovers = std::move(found).value();
    }
    report.fronts = find_fronts(report.evidence, {}, how);
    report.latency = split_latency(report.evidence, report.scaling, how);
    report.external_rows = TRY(store.query("SELECT * FROM v_external"));
    report.external = speedups_of(report.external_rows);
    const std::string where = " WHERE c.experiment = " + sql_text(experiment.value);
    report.order = TRY(read_order(store, where, report.evidence));
    report.provenance = TRY(
        store.query("SELECT p.key AS fact, p.value AS value, count(*) AS runs FROM v_cells c"
                    " JOIN runs r ON r.id = c.run JOIN json_each(r.provenance) p" +
                    where + " GROUP BY p.key, p.value ORDER BY p.key, count(*) DESC LIMIT 400"));
    return report;
}

}  // namespace bitsweep
