#include "worker/metrics/run_queue.h"

#include <sched.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <system_error>
#include <thread>

#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// Helpers of the process (a sampler, a line of progress) want a core now and then beside its
// workers.
constexpr double helpers = 0.5;

}  // namespace

int available_cores() {
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        return CPU_COUNT(&set);
    }
    const unsigned cores = std::thread::hardware_concurrency();
    return cores == 0 ? 1 : static_cast<int>(cores);
}

Result<RunQueueTimes> read_run_queue(const fs::path& folder) {
    RunQueueTimes times;
    times.cores = available_cores();
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(folder, code)) {
        RunQueueTimes::Thread thread;
        std::ifstream in(entry.path() / "schedstat");
        if (in >> thread.ran_ns >> thread.waited_ns) {  // else it has just ended
            times.threads.emplace(entry.path().filename().string(), thread);
        }
    }
    times.at_ns = std::chrono::steady_clock::now().time_since_epoch().count();
    if (times.threads.empty()) {
        return make_error(ErrorCode::unavailable,
                          "no schedstat under " + folder.string() +
                              " (a kernel without CONFIG_SCHED_INFO, or no /proc)");
    }
    return times;
}

CoreWait core_wait_between(const RunQueueTimes& before, const RunQueueTimes& after) {
    CoreWait wait;
    wait.seconds = static_cast<double>(after.at_ns - before.at_ns) * 1e-9;
    wait.cores = after.cores;
    for (const auto& [id, now] : after.threads) {
        const auto then = before.threads.find(id);
        const RunQueueTimes::Thread from =
            then == before.threads.end() ? RunQueueTimes::Thread{} : then->second;
        wait.ran_s += static_cast<double>(now.ran_ns - from.ran_ns) * 1e-9;
        wait.waited_s += static_cast<double>(now.waited_ns - from.waited_ns) * 1e-9;
    }
    return wait;
}

std::optional<bool> is_foreign_load(const CoreWait& wait) {
    const bool told =
        wait.seconds > 0 && wait.ran_s + wait.waited_s <= (wait.cores + helpers) * wait.seconds;
    return told ? std::optional(wait.share() > most_core_wait && wait.waited_s > least_core_wait_s)
                : std::nullopt;
}

std::string core_wait_words(const CoreWait& wait) {
    const std::optional<bool> foreign = is_foreign_load(wait);
    if (foreign && !*foreign) {
        return "counts";
    }
    char text[160];
    std::snprintf(text, sizeof text,
                  foreign ? "its threads waited %.2f s for cores that others used, in %.2f s"
                          : "counts; its threads waited %.2f s for each other's cores, in %.2f s",
                  wait.waited_s, wait.seconds);
    return text;
}

Value run_queue_wait_share(const MetricInput& input) {
    return input.core_wait ? Value(input.core_wait->share()) : std::nullopt;
}

// A card's tokens do not wait for the host's cores, or `host_gap_per_token` says how much.
Value window_foreign_load(const MetricInput& input) {
    const auto foreign = input.core_wait && input.device == nullptr
                             ? is_foreign_load(*input.core_wait)
                             : std::nullopt;
    return foreign ? Value(*foreign ? 1 : 0) : std::nullopt;
}

}  // namespace bitsweep
