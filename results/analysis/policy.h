// Which method each linear layer of a model should have, from what every layer costs and loses
// alone (cells of quality `layers`); and what became of such policies where they ran.
//
// The model of a policy: losses add, costs add. Losses are KL divergences of one quantised layer
// each, so the sum ignores how errors of layers meet; `policy_finding` holds it against what was
// measured. The search is the multiple-choice knapsack (HAQ, arXiv 1811.08886, asks the same
// question of a learned agent).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/analysis/finding.h"
#include "results/store/store.h"
#include "schemas/policy.h"
#include "schemas/status.h"

namespace bitsweep {

struct LayerOption {
    std::string method;  // with its threshold where it reads one: "llmint8-fused@6"
    double kl = 0;       // nat
    double cost = 0;     // ns of a decode step, or bytes
};

struct PolicyLayer {
    std::string name;
    std::vector<LayerOption> options;
};

struct PolicyChoice {
    std::vector<std::size_t> option;  // for each layer
    double kl = 0;
    double cost = 0;
};

// Of the cheapest option of every layer.
double least_cost(std::span<const PolicyLayer> layers);

// The choice of least loss whose cost is at most `budget`: dynamic programming over `steps` equal
// steps of the budget. Each cost is rounded up to whole steps, so the answer never exceeds the
// budget; it is exact where costs are whole steps, else as good as the best choice for
// budget * (1 - layers / steps). not_found: nothing fits (the message has the least cost).
Result<PolicyChoice> choose_policy(std::span<const PolicyLayer> layers, double budget,
                                   int steps = 20'000);

// Every layer an option of its own, uniformly; the same seed, the same choice.
PolicyChoice random_policy(std::span<const PolicyLayer> layers, std::uint64_t seed);

// Spearman's rank correlation, ties at their mean rank; NaN below three pairs.
double rank_correlation(std::span<const double> a, std::span<const double> b);

enum class PolicyCost { time, memory };

struct PolicyQuestion {
    std::string model;   // empty: the only one of the database
    std::string device;  // kind; empty: the only one
    PolicyCost cost = PolicyCost::time;
    std::string like;              // the budget is what this uniform method costs
    std::optional<double> budget;  // else this, ns of a step's linear layers or bytes
};

// What the database knows of one model on one kind of device.
struct PolicyTable {
    std::string model, device;
    std::vector<PolicyLayer> layers;     // options in the same order everywhere
    std::vector<std::string> methods;    // of those options
    std::vector<std::string> disturbed;  // those whose times are of a window that does not count
    double rest_ns = 0;  // of a step besides its linear layers, median over the uniform methods
};
// not_found: no cells of quality `layers` (with the experiment that makes them).
Result<PolicyTable> read_policy_table(Store& store, const PolicyQuestion& question);

// Every layer with the table's method of that index.
PolicyChoice uniform_choice(const PolicyTable& table, std::size_t method);

std::string cost_text(const PolicyQuestion& question, double cost);  // "312 us", "1.9 MiB"
// "time of int4-g64": what LayerPolicy::budget of a found policy says. Equal where two devices were
// asked the same, so that their answers can be compared (policy_transfer.h).
std::string budget_text(const PolicyQuestion& question);

// The policy as a file holds it, without a budget: whoever found it within one says so.
LayerPolicy to_policy(const PolicyTable& table, const PolicyChoice& choice,
                      const PolicyQuestion& question, const std::string& name);
// The choice that the question's budget allows.
Result<PolicyChoice> search_policy(const PolicyTable& table, const PolicyQuestion& question);

// Policies that show whether the predictions hold where they run.
struct PolicyCheck {
    // Of least predicted loss within what each method costs; each method in every layer; random.
    struct File {
        std::string name;  // "found-int4-g64.json"
        LayerPolicy policy;
    };
    std::vector<File> files;
    std::string yaml;  // an experiment beside those files that runs all of them
};
// The text and window that the layers were scored on. `folder`: where the files will stand, for
// the words of the experiment.
Result<PolicyCheck> policy_check(Store& store, const PolicyTable& table,
                                 const PolicyQuestion& question, int random,
                                 const std::string& folder);

// The found policy beside the uniform methods, and where policies ran: predicted against measured,
// found ones against uniform ones, those of one device on another.
Result<Finding> policy_finding(Store& store, const PolicyTable& table, const PolicyChoice& choice,
                               const PolicyQuestion& question);

}  // namespace bitsweep
