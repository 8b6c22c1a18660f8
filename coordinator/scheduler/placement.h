// Which waiting job a free device gets, and, in words, why a job gets none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

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
    outgrown,      // it ran out of memory on this kind, or with as much memory
    refused_here,  // this worker's files differ, or its host memory was too small
    ends_soon,     // the worker ends before the job would
    quarantined,   // the device had a sticky error
    lost,          // the worker is silent
    draining,      // the worker takes nothing new
    foreign,       // somebody else computes there
    memory_taken,  // fits the device, not what is free of it now
    sentinel,      // the device is looked at first
    busy,          // free later
    none,
};

// Up to here no attached worker can run the job as things are.
inline bool is_impossible(Obstacle obstacle) {
    return obstacle < Obstacle::quarantined;
}

// The same, of the nearest obstacle, where somebody is attached: before that, nothing is known.
inline bool is_hopeless(Obstacle nearest) {
    return nearest != Obstacle::no_device && is_impossible(nearest);
}

// "cpu" means the CPU only; "A100" any card whose kind or name has these words in a row; a full
// kind means itself.
bool kind_matches(const std::string& wanted, const DeviceInfo& device);

// How a card is known again under any worker and any number: its UUID, else its place.
std::string card_of(const WorkerName& worker, const DeviceInfo& device);

// The metric that says what a runner held of its card when its job was over: a caching allocator
// gives nothing back, so that is its peak, and that of the jobs it ran before. Of several such
// observations the smallest is nearest to the truth.
inline constexpr std::string_view peak_metric = "device_memory_bytes";

// What cells that need the same memory have in common; `cpu` or not, the two differ.
std::string footprint(const JobSpec& spec, bool cpu);

// What the job needs on such a device: as measured by an earlier job of the same footprint, else
// the estimate, with the context of a CUDA process on a card. 0: not known.
std::uint64_t bytes_needed(const State& state, const Job& job, const DeviceInfo& device);

// How long a job of this model and time limit is given on a worker that ends at a known time: half
// as long again as such jobs took, or the time limit while none was seen.
Duration time_needed(const State& state, const Job& job);

Obstacle obstacle(const State& state, const Job& job, const Worker& worker, const Device& device,
                  TimePoint now);

// The obstacle of the nearest attached device.
Obstacle nearest_obstacle(const State& state, const Job& job, TimePoint now);

// A sentence for people. Only for jobs in Waiting or Backoff.
std::string waiting_reason(const State& state, const Job& job, TimePoint now);

// The obstacle of one device in words.
std::string obstacle_in_words(const State& state, const Job& job, const Worker& worker,
                              const Device& device, TimePoint now);

// Highest priority first; among equals a job of the model that the device ran last, then the
// earliest. The device must be free.
std::optional<JobIndex> choose(const State& state, const Worker& worker, const Device& device,
                               TimePoint now);

// True when an attached device could take the job once it is free and sound.
bool fits_somewhere(const State& state, const Job& job, TimePoint now);

// ASCII only: names of models and kinds compare without case.
std::string lower(std::string text);

}  // namespace bitsweep::scheduler
