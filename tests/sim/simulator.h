// A deterministic world: the real server loop, the real worker sessions, a store, a network and
// people who pull plugs, all from one seed. Faults happen for a while; then they stop and
// everything must converge.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/scheduler/options.h"
#include "coordinator/server/loop.h"
#include "tests/sim/checkers.h"

namespace bitsweep::sim {

struct SimOptions {
    std::uint64_t seed = 1;
    int workers = 3;
    int jobs = 10;
    std::int64_t faults_ms = 90'000;  // how long the world is hostile
    std::uint32_t without = 0;        // faults that do not happen (weather.h: fault_names)
    // Mutants: one safety rule switched off.
    scheduler::SafetyRules rules;
    LoopSafety safety;
    Recording::Replay replay = Recording::Replay::faithful;
    std::function<void(const std::string&)> tell;  // one line for everything that happens
};

struct SimReport {
    std::vector<std::string> breaches;  // what a checker saw; empty: every promise was kept
    std::int64_t virtual_ms = 0;
    int turns = 0;
    int coordinator_deaths = 0;
    int worker_deaths = 0;
    int store_failures = 0;
    int resets = 0;          // of connections
    int taken_back = 0;      // attempts whose worker was given up
    int orders = 0;          // that were obeyed
    int faulty_devices = 0;  // set aside
    int retries = 0;         // attempts beyond the first
    int windows_again = 0;   // cells measured again because a window did not count
    int sentinels = 0;       // measured
    int drifts = 0;          // windows between two sentinels that differ, with something in it
    std::uint64_t hash = 0;  // of every message: same seed, same hash
};

// What protocols ask of windows in this world: less than in earnest, so that it happens here.
WindowPolicy sim_windows(Protocol protocol);

SimReport simulate(const SimOptions& options);

// The same breach with fewer faults, jobs and workers, and an earlier end of the faults, where they
// are not what causes it.
SimOptions shrink(SimOptions options);

}  // namespace bitsweep::sim
