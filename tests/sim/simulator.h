// A deterministic world: the real server loop, the real worker sessions, a store, a network and
// people who pull plugs, all from one seed. Faults happen for a while; then they stop and
// everything must converge.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/scheduler/options.h"
#include "coordinator/server/loop.h"

namespace bitsweep::sim {

struct SimOptions {
    std::uint64_t seed = 1;
    int workers = 3;
    int jobs = 10;
    // Mutants: one safety rule switched off.
    scheduler::SafetyRules rules;
    LoopSafety safety;
};

struct SimReport {
    std::vector<std::string> breaches;  // what a checker saw; empty: every promise was kept
    std::int64_t virtual_ms = 0;
    int turns = 0;
    int coordinator_deaths = 0;
    int worker_deaths = 0;
    int store_failures = 0;
    int retries = 0;         // attempts beyond the first
    std::uint64_t hash = 0;  // of every message: same seed, same hash
};

SimReport simulate(const SimOptions& options);

}  // namespace bitsweep::sim
