// What an interval of the analyses costs, beside the bootstrap that draws every sample
// (tests/analysis/readable_bootstrap.h), and how far the two are apart.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/analysis/readable_bootstrap.h"
#include "tests/bench/own_folder.h"

namespace bitsweep {
namespace {

using Clock = std::chrono::steady_clock;

// What reports have: a bench database's repeats of one number, quick, standard and long windows.
constexpr struct {
    int processes, samples;
} shapes[] = {{25, 1}, {3, 3}, {3, 10}, {5, 30}, {5, 400}, {10, 3000}};
constexpr int rounds = 5;

// Rates that differ by 1 %: an interval's cost does not depend on how they are spread.
std::vector<Process> measured(int processes, int samples) {
    Random random(1);
    std::vector<Process> all;
    for (int p = 0; p < processes; ++p) {
        Process one;
        for (int i = 0; i < samples; ++i) {
            one.samples.push_back(100 + random.uniform());
            one.over.push_back(80 + random.uniform());
        }
        all.push_back(std::move(one));
    }
    return all;
}

template <class Work>
double best_ms(Work work) {
    double best = INFINITY;
    for (int round = 0; round < rounds; ++round) {
        const Clock::time_point start = Clock::now();
        work();
        best =
            std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
    return best;
}

Result<std::string> measure() {
    std::printf("%9s %8s %12s %10s %8s %14s\n", "processes", "samples", "readable ms", "ms",
                "times", "half-width");
    std::string json;
    const Resampling how;
    for (const auto& shape : shapes) {
        const std::vector<Process> processes = measured(shape.processes, shape.samples);
        Interval readable, fast;
        const double slow_ms = best_ms([&] { readable = readable::interval(processes, how); });
        const double fast_ms =
            best_ms([&] { fast = bootstrap_interval(ProcessSampler(processes), how); });
        std::printf("%9d %8d %12.2f %10.3f %8.1f %13.3fx\n", shape.processes, shape.samples,
                    slow_ms, fast_ms, slow_ms / fast_ms,
                    std::log(fast.high / fast.low) / std::log(readable.high / readable.low));
        const std::string name =
            std::to_string(shape.processes) + "x" + std::to_string(shape.samples);
        json += (json.empty() ? "{\"" : ", \"") + name +
                "_readable_ms\": " + std::to_string(slow_ms) + ", \"" + name +
                "_ms\": " + std::to_string(fast_ms);
    }
    return json + "}";
}

}  // namespace
}  // namespace bitsweep

int main(int count, char** words) {
    return bitsweep::run_in_own_folder(
        "bootstrap", [](const auto&) { return bitsweep::measure(); }, count, words);
}
