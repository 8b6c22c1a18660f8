// Policies against one another where they ran: found ones against uniform ones of their budget, and
// those found for one device on another.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/analysis/policy_runs.h"

namespace bitsweep {

enum class PolicyVerdict {
    as_good,     // not resolved to be slower by more than 1 %, and loses no more
    slower,      // by more than 1 %; resolved where there is an interval
    loses_more,  // resolved
    unresolved   // loses more by less than the interval tells, or its time is not known
};
std::string_view to_string(PolicyVerdict verdict);

// The policy that was found, for this device, within what `method` costs in every layer.
struct AgainstUniform {
    std::string device, method;
    Interval time, kl;  // found over uniform
    double kl_found = 0, kl_uniform = 0;
    PolicyVerdict verdict = PolicyVerdict::unresolved;
};
std::vector<AgainstUniform> against_uniform(std::span<const PolicyRun> runs, const Resampling& how);

// Policies of one device on another, against the other's own within the same budgets.
struct Transfer {
    std::string found_for, measured_on;
    std::vector<std::string> budgets;  // one: that budget alone
    Interval time, kl;                 // over the device's own; geometric means over the budgets
    int same_layers = 0;               // of the budgets: both devices found the same policy
};
// Every pair of devices: first all budgets together, then each alone.
std::vector<Transfer> find_transfers(std::span<const PolicyRun> runs, const Resampling& how);

}  // namespace bitsweep
