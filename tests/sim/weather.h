// How hostile one seed's world is: the rates themselves are random.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/sim_worker.h"

namespace bitsweep::sim {

struct Weather {
    double loss = 0;  // per message
    double duplication = 0;
    std::int64_t delay_ms_max = 0;
    bool in_order = false;    // as on one connection; only without delays
    double partition = 0;     // per step and worker: the start of one
    double reset = 0;         // per step and worker: its connection ends, with all that was on it
    double worker_death = 0;  // per step and worker
    double worker_freeze = 0;
    double worker_stop = 0;
    double coordinator_death = 0;   // per step
    double store_failure = 0;       // per transaction: the start of an outage
    double death_after_commit = 0;  // before anything is sent
    double death_between_sends = 0;
    double clock_jump = 0;   // per start of the coordinator
    double orders = 0;       // per step: a person pauses, resumes, cancels, tries again
    double hang = 0;         // per attempt: it never ends by itself
    double failure = 0;      // per attempt: the runner says no
    double gpu_fault = 0;    // per attempt on a card
    double disturbance = 0;  // per attempt: its window does not count
    double drift = 0;        // per attempt: its device is faster or slower from then on
};

// One name for each fault, in the order of the bits of SimOptions::without.
const std::vector<std::string>& fault_names();

// `without`: faults that do not happen, a bit each. The random numbers drawn are the same.
Weather weather_of(Random& random, std::uint32_t without);

}  // namespace bitsweep::sim
