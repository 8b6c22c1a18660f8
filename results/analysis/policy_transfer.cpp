#include "results/analysis/policy_transfer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace bitsweep {
namespace {

constexpr double margin = 0.01;  // a smaller difference of times is called the same, as in compare

// "time of int4-g64" -> "int4-g64"; empty for a budget of another kind.
std::string budget_method(const std::string& budget) {
    const std::string prefix = "time of ";
    return budget.starts_with(prefix) ? budget.substr(prefix.size()) : "";
}

// The newest that fits: cells stand in the order in which they were asked.
template <class Fits>
const PolicyRun* last_run(std::span<const PolicyRun> runs, const Fits& fits) {
    const PolicyRun* found = nullptr;
    for (const PolicyRun& run : runs) {
        if (fits(run)) {
            found = &run;
        }
    }
    return found;
}

const PolicyRun* found_run(std::span<const PolicyRun> runs, const std::string& budget,
                           const std::string& found_for, const std::string& measured_on) {
    return last_run(runs, [&](const PolicyRun& run) {
        return is_found(run.policy) && run.policy.budget == budget && run.policy.gpu == found_for &&
               run.device == measured_on;
    });
}

PolicyVerdict verdict_of(const AgainstUniform& row) {
    if (std::isnan(row.time.centre) || std::isnan(row.kl.centre)) {
        return PolicyVerdict::unresolved;
    }
    const bool resolved = !row.time.known() || row.time.low > 1;
    if (resolved && row.time.centre > 1 + margin) {
        return PolicyVerdict::slower;
    }
    if (row.kl.centre <= 1) {
        return PolicyVerdict::as_good;
    }
    return row.kl.low > 1 ? PolicyVerdict::loses_more : PolicyVerdict::unresolved;
}

Transfer transfer_of(std::span<const RunPair> pairs, const Resampling& how) {
    Transfer row;
    row.found_for = pairs.front().over->policy.gpu;
    row.measured_on = pairs.front().over->device;
    for (const RunPair& pair : pairs) {
        row.budgets.push_back(pair.over->policy.budget);
        row.same_layers += pair.over->policy.layers == pair.under->policy.layers ? 1 : 0;
    }
    row.time = time_ratio(pairs, how);
    row.kl = kl_ratio(pairs, how);
    return row;
}

}  // namespace

std::string_view to_string(PolicyVerdict verdict) {
    switch (verdict) {
        case PolicyVerdict::as_good:
            return "AS GOOD";
        case PolicyVerdict::slower:
            return "SLOWER";
        case PolicyVerdict::loses_more:
            return "LOSES MORE";
        case PolicyVerdict::unresolved:
            return "not resolved";
    }
    ASSERT(false);
}

std::vector<AgainstUniform> against_uniform(std::span<const PolicyRun> runs,
                                            const Resampling& how) {
    std::vector<AgainstUniform> rows;
    for (const PolicyRun& run : runs) {
        const std::string method = budget_method(run.policy.budget);
        if (method.empty() || run.policy.gpu != run.device ||
            found_run(runs, run.policy.budget, run.device, run.device) != &run) {
            continue;
        }
        const PolicyRun* uniform = last_run(runs, [&](const PolicyRun& other) {
            return !is_found(other.policy) && other.device == run.device &&
                   uniform_method(other.policy) == method;
        });
        if (uniform == nullptr) {
            continue;
        }
        const RunPair pair{&run, uniform};
        AgainstUniform row{
            run.device, method,     time_ratio({&pair, 1}, how), kl_ratio({&pair, 1}, how),
            run.kl,     uniform->kl};
        row.verdict = verdict_of(row);
        rows.push_back(std::move(row));
    }
    return rows;
}

std::vector<Transfer> find_transfers(std::span<const PolicyRun> runs, const Resampling& how) {
    std::vector<std::string> budgets;
    std::set<std::string> devices;
    for (const PolicyRun& run : runs) {
        if (is_found(run.policy)) {
            devices.insert(run.policy.gpu);
            if (std::ranges::find(budgets, run.policy.budget) == budgets.end()) {
                budgets.push_back(run.policy.budget);
            }
        }
    }
    std::vector<Transfer> together;
    std::vector<Transfer> alone;
    for (const std::string& found_for : devices) {
        for (const std::string& measured_on : devices) {
            std::vector<RunPair> pairs;
            for (const std::string& budget : budgets) {
                const PolicyRun* foreign = found_run(runs, budget, found_for, measured_on);
                const PolicyRun* own = found_run(runs, budget, measured_on, measured_on);
                if (found_for != measured_on && foreign != nullptr && own != nullptr) {
                    pairs.push_back({foreign, own});
                    alone.push_back(transfer_of({&pairs.back(), 1}, how));
                }
            }
            if (!pairs.empty()) {
                together.push_back(transfer_of(pairs, how));
            }
        }
    }
    together.insert(together.end(), alone.begin(), alone.end());
    return together;
}

}  // namespace bitsweep
