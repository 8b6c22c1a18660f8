// Which waiting job a free device gets, and, in words, why a job gets none.
#pragma once

#include <optional>
#include <string>

#include "coordinator/scheduler/state.h"

namespace bitsweep::scheduler {

// What stands between a job and a device, from hopeless to none: the job's reason is told for the
// device that is nearest to taking it.
enum class Obstacle {
    no_device,     // nobody is attached
    wrong_kind,    // the job asks for another kind of device
    method,        // the method does not run on such a device
    memory,        // needs more than the device has
    model,         // the worker has not the model
    kind_tried,    // it ran out of memory on this kind
    refused_here,  // this worker's files differ from the bound ones
    quarantined,   // the device had a sticky error
    lost,          // the worker is silent
    draining,      // the worker takes nothing new
    busy,          // free later
    none,
};

// Up to here no attached worker can run the job as things are.
inline bool is_impossible(Obstacle obstacle) {
    return obstacle < Obstacle::quarantined;
}

// "cpu" means the CPU only; "A100" any card whose kind or name has these words in a row; a full
// kind means itself.
bool kind_matches(const std::string& wanted, const DeviceInfo& device);

Obstacle obstacle(const Job& job, const Worker& worker, const Device& device);

// The obstacle of the nearest attached device.
Obstacle nearest_obstacle(const State& state, const Job& job);

// A sentence for people. Only for jobs in Waiting or Backoff.
std::string waiting_reason(const State& state, const Job& job, TimePoint now);

// Highest priority first; among equals a job of the model that the device ran last, then the
// earliest. The device must be free.
std::optional<JobIndex> choose(const State& state, const Worker& worker, const Device& device);

// True when a device of a kind other than `kind`, where the job was not tried yet, could take it.
bool fits_elsewhere(const State& state, const Job& job, const std::string& kind);

// ASCII only: names of models and kinds compare without case.
std::string lower(std::string text);

}  // namespace bitsweep::scheduler
