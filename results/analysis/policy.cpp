// Tables of layers out of the database, and the policies made of them.
#include "results/analysis/policy.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "results/analysis/interval.h"
#include "results/analysis/number_text.h"
#include "results/analysis/table_row.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {
namespace {

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
    bool disturbed = false;          // the window of its times
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
        " 'token_latency_p50') AS step, " +
        is_flagged_sql("m.run") +
        " AS disturbed"
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
        uniform.disturbed = row.number("disturbed") > 0;
        uniform.layers[layer] = {method_label(row), row.number("kl"), row.number("cost")};
    }
    return methods;
}

// "model.layers.3.mlp.down_proj" -> "model.layers.#.mlp.down_proj": equal for every block.
std::string without_numbers(const std::string& name) {
    std::string kind;
    for (const char c : name) {
        const bool digit = c >= '0' && c <= '9';
        if (!digit) {
            kind += c;
        } else if (!kind.ends_with('#')) {
            kind += '#';
        }
    }
    return kind;
}

// A layer of one block has the shape of its namesakes in the others, so it takes as long: their
// median is surer than each alone, and a search takes whatever noise looks cheap. Where a threshold
// takes columns out the time depends on the layer.
void share_times(PolicyTable& table) {
    for (std::size_t method = 0; method < table.methods.size(); ++method) {
        if (table.methods[method].find('@') != std::string::npos) {
            continue;
        }
        std::map<std::string, std::vector<double>> costs;
        for (const PolicyLayer& layer : table.layers) {
            costs[without_numbers(layer.name)].push_back(layer.options[method].cost);
        }
        for (PolicyLayer& layer : table.layers) {
            layer.options[method].cost = median(costs.at(without_numbers(layer.name)));
        }
    }
}

}  // namespace

PolicyChoice uniform_choice(const PolicyTable& table, std::size_t method) {
    PolicyChoice choice;
    for (const PolicyLayer& layer : table.layers) {
        choice.option.push_back(method);
        choice.kl += layer.options[method].kl;
        choice.cost += layer.options[method].cost;
    }
    return choice;
}

std::string cost_text(const PolicyQuestion& question, double cost) {
    return question.cost == PolicyCost::time ? significant(cost / 1e3, 4) + " us"
                                             : significant(cost / 1048576, 4) + " MiB";
}

std::string budget_text(const PolicyQuestion& question) {
    return std::string(question.cost == PolicyCost::time ? "time of " : "memory of ") +
           (question.budget ? cost_text(question, *question.budget) : question.like);
}

Result<PolicyTable> read_policy_table(Store& store, const PolicyQuestion& question) {
    PolicyTable table;
    table.model = TRY(only(store, "model", question.model, ""));
    table.device =
        TRY(only(store, "device", question.device, " WHERE c.model = " + sql_text(table.model)));
    const auto methods = TRY(read_uniform(store, table, question.cost));
    if (methods.empty() && question.cost == PolicyCost::time &&
        !TRY(read_uniform(store, table, PolicyCost::memory)).empty()) {
        return make_error(ErrorCode::not_found,
                          "the layers of " + table.model + " on " + table.device +
                              " have losses and sizes, but no times: too few tokens were generated "
                              "to time them (`new_tokens: 64` does); `--by memory` needs none");
    }
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
        if (uniform.disturbed && question.cost == PolicyCost::time) {
            table.disturbed.push_back(method);
        }
        rest.push_back(uniform.step_ns - sum);
    }
    if (question.cost == PolicyCost::time) {
        share_times(table);
    }
    table.rest_ns = question.cost == PolicyCost::time ? std::max(0.0, median(rest)) : 0;
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
        const Result<PolicyChoice> choice = choose_policy(table.layers, *question.budget);
        if (choice || choice.error().code != ErrorCode::not_found) {
            return choice;
        }
        return make_error(ErrorCode::not_found, "no policy costs at most " +
                                                    cost_text(question, *question.budget) +
                                                    "; the cheapest costs " +
                                                    cost_text(question, least_cost(table.layers)));
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
    const double cost = uniform_choice(table, index).cost;
    const double slack = 1 + static_cast<double>(table.layers.size()) / steps;
    return choose_policy(table.layers, cost * slack, steps);
}

}  // namespace bitsweep
