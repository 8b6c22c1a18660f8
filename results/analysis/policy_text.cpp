// What is said of policies.
#include <algorithm>
#include <cmath>
#include <limits>

#include "results/analysis/number_text.h"
#include "results/analysis/policy.h"
#include "results/analysis/policy_runs.h"
#include "results/analysis/policy_transfer.h"

namespace bitsweep {
namespace {

constexpr double us = 1e3;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

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

NamedTable layers_table(const PolicyTable& table, const PolicyChoice& choice,
                        const PolicyQuestion& question) {
    TableBuilder layers({"layer", "method", "kl", "cost"});
    for (std::size_t i = 0; i < table.layers.size(); ++i) {
        const LayerOption& option = table.layers[i].options[choice.option[i]];
        layers.row()
            .text(table.layers[i].name)
            .text(option.method)
            .number(option.kl)
            .text(cost_text(question, option.cost));
    }
    return {"layers of the found policy", layers.take()};
}

NamedTable uniform_table(const PolicyTable& table, const PolicyChoice& choice,
                         const PolicyQuestion& question) {
    TableBuilder uniform({"setting", "cost of linear layers", "predicted kl"});
    for (std::size_t i = 0; i < table.methods.size(); ++i) {
        const PolicyChoice all = uniform_choice(table, i);
        uniform.row().text(table.methods[i]).text(cost_text(question, all.cost)).number(all.kl);
    }
    uniform.row().text("found").text(cost_text(question, choice.cost)).number(choice.kl);
    return {"uniform methods beside it", uniform.take()};
}

NamedTable runs_table(const PolicyTable& table, const std::vector<PolicyRun>& runs) {
    TableBuilder ran({"policy", "found for", "measured on", "predicted kl", "measured kl",
                      "predicted step us", "measured step us", "repeats"});
    for (const PolicyRun& run : runs) {
        ran.row()
            .text(run.policy.name)
            .text(run.policy.gpu)
            .text(run.device)
            .number(predicted_kl(table, run.policy).value_or(nan))
            .number(run.kl)
            .number(run.policy.predicted_step_ns.value_or(nan) / us)
            .number(run.step_ns() / us)
            .count(std::ssize(run.times));
    }
    return {"policies that ran", ran.take()};
}

// Predicted against measured loss, of the policies that `counts`.
template <class Counts>
void say_correlation(const PolicyTable& table, const std::vector<PolicyRun>& runs,
                     const std::string& which, const Counts& counts, Finding& finding) {
    std::vector<double> predicted;
    std::vector<double> measured;
    for (const PolicyRun& run : runs) {
        const auto kl = predicted_kl(table, run.policy);
        if (run.device == table.device && counts(run) && kl && !std::isnan(run.kl)) {
            predicted.push_back(*kl);
            measured.push_back(run.kl);
        }
    }
    const Interval rho = rank_correlation_interval(predicted, measured, {});
    if (!std::isnan(rho.centre)) {
        finding.sentences.push_back(
            "Predicted and measured KL divergence of " + std::to_string(measured.size()) + which +
            " policies that ran here have rank correlation " + ratio_interval_text(rho) + ".");
    }
}

void say_against_uniform(const std::vector<PolicyRun>& runs, Finding& finding) {
    const auto rows = against_uniform(runs, {});
    if (rows.empty()) {
        return;
    }
    TableBuilder table({"measured on", "found within the time of", "time over uniform",
                        "kl over uniform", "kl found", "kl uniform", "verdict"});
    int good = 0;
    for (const AgainstUniform& row : rows) {
        good += row.verdict == PolicyVerdict::as_good ? 1 : 0;
        table.row()
            .text(row.device)
            .text(row.method)
            .text(ratio_interval_text(row.time))
            .text(ratio_interval_text(row.kl))
            .number(row.kl_found)
            .number(row.kl_uniform)
            .text(std::string(to_string(row.verdict)));
    }
    finding.sentences.push_back("Of " + std::to_string(rows.size()) +
                                " found policies that ran beside the uniform method whose time "
                                "they were given, " +
                                std::to_string(good) +
                                " are as good: not resolved to be slower, and they lose no more.");
    finding.tables.push_back({"found against uniform", table.take()});
}

void say_transfers(const std::vector<PolicyRun>& runs, Finding& finding) {
    const auto rows = find_transfers(runs, {});
    if (rows.empty()) {
        return;
    }
    TableBuilder table({"found for", "measured on", "within", "time over its own",
                        "kl over its own", "same layers"});
    for (const Transfer& row : rows) {
        const bool together = row.budgets.size() > 1;
        const std::string count = std::to_string(row.budgets.size());
        table.row()
            .text(row.found_for)
            .text(row.measured_on)
            .text(together ? "all " + count + " budgets" : row.budgets.front())
            .text(ratio_interval_text(row.time))
            .text(ratio_interval_text(row.kl))
            .count(row.same_layers);
        if (together) {
            finding.sentences.push_back(
                "Policies found for " + row.found_for + ", run on " + row.measured_on + ", take " +
                ratio_interval_text(row.time) + " times the time of its own and lose " +
                ratio_interval_text(row.kl) + " times as much (" + count + " budgets).");
        }
    }
    finding.tables.push_back({"transfer from device to device", table.take()});
}

}  // namespace

Result<Finding> policy_finding(Store& store, const PolicyTable& table, const PolicyChoice& choice,
                               const PolicyQuestion& question) {
    Finding finding;
    finding.title = "A method for each layer of " + table.model + " on " + table.device;
    finding.sentences.push_back(
        "The policy of least predicted loss within " +
        (question.like.empty() ? "the budget" : "the cost of " + question.like) + " costs " +
        cost_text(question, choice.cost) + " in its linear layers and loses " +
        small_text(choice.kl) + " nat.");
    if (!table.disturbed.empty()) {
        std::string methods;
        for (const std::string& method : table.disturbed) {
            methods += (methods.empty() ? "" : ", ") + method;
        }
        finding.sentences.push_back("Measure again: the times of " + methods +
                                    " are of disturbed windows, which count nowhere else.");
    }
    finding.tables = {layers_table(table, choice, question),
                      uniform_table(table, choice, question)};
    const auto runs = TRY(read_policy_runs(store, table.model));
    say_correlation(
        table, runs, " random", [](const PolicyRun& run) { return is_random(run.policy); },
        finding);
    say_correlation(
        table, runs, "", [](const PolicyRun&) { return true; }, finding);
    say_against_uniform(runs, finding);
    say_transfers(runs, finding);
    if (!runs.empty()) {
        finding.tables.push_back(runs_table(table, runs));
    }
    finding.notes.push_back(
        "Losses and costs of layers are added; the tables of layers are of cells with `quality: "
        "layers`, a 16-bit head, the newest run of each; a layer's time is the median over its "
        "namesakes in all blocks.");
    if (finding.tables.size() > 3) {
        finding.notes.push_back(
            "Intervals are of 95 %: times by a bootstrap over processes, then tokens, repeats "
            "paired; losses over blocks of 128 tokens; rank correlation over policies.");
    }
    return finding;
}

}  // namespace bitsweep
