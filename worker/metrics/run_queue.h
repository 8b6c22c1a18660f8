// How long the threads of this process waited for a core that others used, from the scheduler's own
// counters (/proc/self/task/*/schedstat): the CPU's counterpart of a foreign process on a card.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

// CPU cores that this process may run on; at least 1.
int available_cores();

// Counters of every thread at one moment, in nanoseconds since the thread began.
struct RunQueueTimes {
    struct Thread {
        std::int64_t ran_ns = 0, waited_ns = 0;
    };
    std::map<std::string, Thread> threads;  // by thread id
    std::int64_t at_ns = 0;                 // steady clock
    int cores = 0;                          // that this process may use
};

// unavailable, with the reason: a kernel without CONFIG_SCHED_INFO, or no /proc.
Result<RunQueueTimes> read_run_queue(const std::filesystem::path& folder = "/proc/self/task");

// What one window lost, all threads together: two threads that wait at once count twice. A product
// ends with its slowest thread, so whichever waits, the others wait for it.
struct CoreWait {
    double seconds = 0;  // of the window
    double ran_s = 0, waited_s = 0;
    int cores = 0;

    double share() const { return seconds > 0 ? waited_s / seconds : 0; }
};
// Threads that began in between count from their beginning, those that ended not at all.
CoreWait core_wait_between(const RunQueueTimes& before, const RunQueueTimes& after);

// Share of a window that may be waited for cores. As much as a run's own rates may move
// (schemas/catalog/windows.cpp). Measured on 2 cores (tests/metrics/run_queue_test.cpp plants it):
// a core without company 0.0 %, one that another process wants as well 50 to 67 %, so nothing is
// near it.
inline constexpr double most_core_wait = 0.05;
// And what a short window may wait whatever its share: less than one turn of a busy process (Linux
// gives 2.8 ms and more), more than the coordinator and the worker of a `bitsweep run` need to hear
// that a sequence of a tiny model has ended.
inline constexpr double least_core_wait_s = 0.002;

// Whether other processes took the cores. nullopt: cannot be told, since more of its own threads
// wanted to run than it has cores and they waited for each other.
std::optional<bool> is_foreign_load(const CoreWait& wait);

// "counts", or what was found against the window, with its numbers; for provenance.
std::string core_wait_words(const CoreWait& wait);

}  // namespace bitsweep
