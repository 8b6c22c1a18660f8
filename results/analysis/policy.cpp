// Policies out of the database: tables of layers, and cells of method mixed that ran.
#include "results/analysis/policy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "results/analysis/number_text.h"
#include "results/analysis/table_row.h"

namespace bitsweep {
namespace {

constexpr double us = 1e3;

double median_of(std::vector<double> values) {
    if (values.empty()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The one value that a column of the question's table has, or what was asked for.
Result<std::string> only(Store& store, const std::string& column, const std::string& wanted,
                         const std::string& where) {
    if (!wanted.empty()) {
        return wanted;
    }
    const Table table = TRY(store.query("SELECT DISTINCT c." + column + " AS name FROM v_cells c" +
                                        " JOIN measurements m ON m.run = c.run AND m.metric >"
                                        " 'layer_kl:' AND m.metric < 'layer_kl;'" +
                                        where));
    if (table.rows.empty()) {
        return make_error(ErrorCode::not_found,
                          "no cell of this database was measured layer by layer: run an "
                          "experiment with `quality: layers`, such as experiments/policy.yaml");
    }
    if (table.rows.size() > 1) {
        std::string names;
        for (std::size_t i = 0; i < table.rows.size(); ++i) {
            names += (i == 0 ? "" : ", ") + Row(table, i).label("name");
        }
        return make_error(ErrorCode::invalid_input, "several of them have tables of layers: " +
                                                        names + "; name one with --" + column);
    }
    return Row(table, 0).label("name");
}

struct Uniform {
    double step_ns = std::numeric_limits<double>::quiet_NaN();
    std::vector<std::string> order;  // of layers
    std::map<std::string, LayerOption> layers;
};

std::string method_label(const Row& row) {
    const double threshold = row.number("threshold");
    return row.label("method") + (std::isnan(threshold) ? "" : "@" + plain_text(threshold));
}

// Of every uniform method that was measured layer by layer; the newest run of each.
Result<std::map<std::string, Uniform>> read_uniform(Store& store, const PolicyTable& table,
                                                    PolicyCost cost) {
    const std::string metric = cost == PolicyCost::time ? "layer_latency:" : "layer_bytes:";
    const Table rows = TRY(store.query(
        "SELECT c.method, c.threshold, substr(m.metric, 10) AS layer, m.value AS kl,"
        " (SELECT value FROM measurements WHERE run = m.run AND sample = 0 AND metric = '" +
        metric +
        "' || substr(m.metric, 10)) AS cost,"
        " (SELECT value FROM measurements WHERE run = m.run AND sample = 0 AND metric ="
        " 'token_latency_p50') AS step"
        " FROM v_cells c JOIN measurements m ON m.run = c.run AND m.sample = 0"
        " AND m.metric > 'layer_kl:' AND m.metric < 'layer_kl;' WHERE c.method <> 'mixed'"
        " AND c.head = 16 AND c.model = " +
        sql_text(table.model) + " AND c.device = " + sql_text(table.device) +
        " ORDER BY c.run, m.metric"));
    std::map<std::string, Uniform> methods;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        if (std::isnan(row.number("cost"))) {
            continue;
        }
        Uniform& uniform = methods[method_label(row)];
        const std::string layer = row.label("layer");
        if (!uniform.layers.contains(layer)) {
            uniform.order.push_back(layer);
        }
        uniform.step_ns = row.number("step");
        uniform.layers[layer] = {method_label(row), row.number("kl"), row.number("cost")};
    }
    return methods;
}

double sum_of(const PolicyTable& table, std::size_t method, double LayerOption::*what) {
    double sum = 0;
    for (const PolicyLayer& layer : table.layers) {
        sum += layer.options[method].*what;
    }
    return sum;
}

std::string cost_text(const PolicyQuestion& question, double cost) {
    return question.cost == PolicyCost::time ? significant(cost / us, 4) + " us"
                                             : significant(cost / 1048576, 4) + " MiB";
}

// One cell of method mixed that ran.
struct MeasuredPolicy {
    LayerPolicy policy;
    std::string device;
    std::vector<double> kl, step_ns;  // of its repeats
};

Result<std::vector<MeasuredPolicy>> read_measured(Store& store, const std::string& model) {
    const Table rows = TRY(store.query(
        "SELECT c.series, c.device, j.spec,"
        " (SELECT value FROM measurements WHERE run = c.run AND sample = 0"
        "  AND metric = 'kl_mean') AS kl,"
        " (SELECT value FROM measurements WHERE run = c.run AND sample = 0"
        "  AND metric = 'token_latency_p50') AS step"
        " FROM v_cells c JOIN jobs j ON j.id = c.job WHERE c.method = 'mixed' AND c.model = " +
        sql_text(model) + " ORDER BY c.position"));
    std::map<std::string, std::size_t> known;
    std::vector<MeasuredPolicy> measured;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        const auto spec = nlohmann::json::parse(row.label("spec"), nullptr, false);
        if (!spec.is_object() || !spec.contains("policy") || !spec["policy"].is_string()) {
            continue;
        }
        const auto policy = policy_from_json(spec["policy"].get<std::string>());
        if (!policy) {
            continue;
        }
        const auto [entry, is_new] =
            known.try_emplace(row.label("series") + "\n" + row.label("device"), measured.size());
        if (is_new) {
            measured.push_back({*policy, row.label("device"), {}, {}});
        }
        MeasuredPolicy& one = measured[entry->second];
        if (const double kl = row.number("kl"); !std::isnan(kl)) {
            one.kl.push_back(kl);
        }
        if (const double step = row.number("step"); !std::isnan(step)) {
            one.step_ns.push_back(step);
        }
    }
    return measured;
}

// What the table says of a policy's loss; nothing where it has a layer or method unknown here.
std::optional<double> predicted_kl(const PolicyTable& table, const LayerPolicy& policy) {
    double kl = 0;
    for (const PolicyLayer& layer : table.layers) {
        const auto method = policy.layers.find(layer.name);
        if (method == policy.layers.end()) {
            return std::nullopt;
        }
        const auto option = std::ranges::find(layer.options, method->second, &LayerOption::method);
        if (option == layer.options.end()) {
            return std::nullopt;
        }
        kl += option->kl;
    }
    return kl;
}

}  // namespace

Result<PolicyTable> read_policy_table(Store& store, const PolicyQuestion& question) {
    PolicyTable table;
    table.model = TRY(only(store, "model", question.model, ""));
    table.device =
        TRY(only(store, "device", question.device, " WHERE c.model = " + sql_text(table.model)));
    const auto methods = TRY(read_uniform(store, table, question.cost));
    if (methods.empty()) {
        return make_error(ErrorCode::not_found,
                          "no method of " + table.model + " on " + table.device +
                              " was measured layer by layer with this cost and a 16-bit head; "
                              "experiments/policy.yaml does");
    }
    std::vector<double> rest;
    for (const std::string& layer : methods.begin()->second.order) {
        table.layers.push_back({layer, {}});
    }
    for (const auto& [method, uniform] : methods) {
        double sum = 0;
        for (PolicyLayer& layer : table.layers) {
            const auto found = uniform.layers.find(layer.name);
            if (found == uniform.layers.end()) {
                return make_error(ErrorCode::corrupt, table.model + ", " + method +
                                                          ": no number of layer " + layer.name);
            }
            layer.options.push_back(found->second);
            sum += found->second.cost;
        }
        table.methods.push_back(method);
        rest.push_back(uniform.step_ns - sum);
    }
    table.rest_ns = question.cost == PolicyCost::time ? std::max(0.0, median_of(rest)) : 0;
    return table;
}

LayerPolicy to_policy(const PolicyTable& table, const PolicyChoice& choice,
                      const PolicyQuestion& question, const std::string& name) {
    LayerPolicy policy{.name = name, .model = table.model, .gpu = table.device};
    policy.predicted_kl = choice.kl;
    if (question.cost == PolicyCost::time) {
        policy.predicted_step_ns = table.rest_ns + choice.cost;
    }
    for (std::size_t i = 0; i < table.layers.size(); ++i) {
        policy.layers[table.layers[i].name] = table.layers[i].options[choice.option[i]].method;
    }
    return policy;
}

Result<PolicyChoice> search_policy(const PolicyTable& table, const PolicyQuestion& question) {
    if (question.budget) {
        return choose_policy(table.layers, *question.budget);
    }
    const auto method = std::ranges::find(table.methods, question.like);
    if (method == table.methods.end()) {
        std::string known;
        for (const std::string& name : table.methods) {
            known += (known.empty() ? "" : ", ") + name;
        }
        return make_error(
            ErrorCode::invalid_input,
            "the budget `" + question.like + "` is no method with a table here: " + known);
    }
    const auto index = static_cast<std::size_t>(method - table.methods.begin());
    // The uniform choice itself must fit in spite of rounding up: one step for each layer more.
    constexpr int steps = 20'000;
    const double cost = sum_of(table, index, &LayerOption::cost);
    const double slack = 1 + static_cast<double>(table.layers.size()) / steps;
    return choose_policy(table.layers, cost * slack, steps);
}

Result<Finding> policy_finding(Store& store, const PolicyTable& table, const PolicyChoice& choice,
                               const PolicyQuestion& question) {
    Finding finding;
    finding.title = "A method for each layer of " + table.model + " on " + table.device;
    finding.sentences.push_back(
        "The policy of least predicted loss within " +
        (question.like.empty() ? "the budget" : "the cost of " + question.like) + " costs " +
        cost_text(question, choice.cost) + " in its linear layers and loses " +
        small_text(choice.kl) + " nat.");
    TableBuilder uniform({"setting", "cost of linear layers", "predicted kl"});
    for (std::size_t i = 0; i < table.methods.size(); ++i) {
        uniform.row()
            .text(table.methods[i])
            .text(cost_text(question, sum_of(table, i, &LayerOption::cost)))
            .number(sum_of(table, i, &LayerOption::kl));
    }
    uniform.row().text("found").text(cost_text(question, choice.cost)).number(choice.kl);
    const auto measured = TRY(read_measured(store, table.model));
    TableBuilder ran({"policy", "found for", "measured on", "predicted kl", "measured kl",
                      "predicted step us", "measured step us", "repeats"});
    std::vector<double> predicted;
    std::vector<double> seen;
    for (const MeasuredPolicy& one : measured) {
        const auto kl = predicted_kl(table, one.policy);
        const double got = median_of(one.kl);
        if (kl && !std::isnan(got) && one.device == table.device) {
            predicted.push_back(*kl);
            seen.push_back(got);
        }
        const double nan = std::numeric_limits<double>::quiet_NaN();
        ran.row()
            .text(one.policy.name)
            .text(one.policy.gpu)
            .text(one.device)
            .number(kl.value_or(nan))
            .number(got)
            .number(one.policy.predicted_step_ns.value_or(nan) / us)
            .number(median_of(one.step_ns) / us)
            .count(static_cast<std::int64_t>(one.step_ns.size()));
    }
    TableBuilder layers({"layer", "method", "kl", "cost"});
    for (std::size_t i = 0; i < table.layers.size(); ++i) {
        const LayerOption& option = table.layers[i].options[choice.option[i]];
        layers.row()
            .text(table.layers[i].name)
            .text(option.method)
            .number(option.kl)
            .text(cost_text(question, option.cost));
    }
    if (const double rho = rank_correlation(predicted, seen); !std::isnan(rho)) {
        finding.sentences.push_back(
            "Predicted and measured KL divergence of " + std::to_string(seen.size()) +
            " policies that ran here have rank correlation " + significant(rho, 3) + ".");
    }
    finding.tables = {{"layers of the found policy", layers.take()},
                      {"uniform methods beside it", uniform.take()}};
    if (!measured.empty()) {
        finding.tables.push_back({"policies that ran", ran.take()});
    }
    finding.notes.push_back(
        "Losses and costs of layers are added; the tables of layers are of "
        "cells with `quality: layers`, a 16-bit head, the newest run of each.");
    return finding;
}

}  // namespace bitsweep
