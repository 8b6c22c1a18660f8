// A runner whose engine is a known distribution: real protocol (worker/runner/workload), real
// metrics and judgement of the window (worker/metrics), real lines to the worker, and a clock that
// moves by what the engine says it took. The prompt says what is planted:
//   "same"            fp16 and int8 have one speed
//   "slower 2%"       int8 takes 2 % longer
//   "throttled", "foreign", "drift"   int8's window is disturbed so
//   "busy"            on a CPU; for a moment int8 really shares its core with a busy process
// METER_SLOWDOWN in its environment: every step takes so many times as long.
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <string>

#include "tests/agent/runner_program.h"
#include "tests/metrics/busy_neighbour.h"
#include "worker/metrics/metric.h"
#include "worker/runner/workload.h"

namespace bitsweep {
namespace {

std::int64_t now_ns = 1'000'000'000;

}  // namespace

// In place of worker/runner/sequence.cpp's.
std::int64_t monotonic_ns() {
    return now_ns;
}

namespace {

constexpr double step_ns = 10e6;
constexpr double between = 0.002;  // of processes of one machine (facts: at most 0.5 %)
constexpr double within = 0.005;   // of sequences of one process

// SplitMix64, seeded by the cell: the same numbers on every machine.
class Noise {
 public:
    explicit Noise(const std::string& key) : state_(std::stoull(key.substr(0, 16), nullptr, 16)) {}

    double normal() {  // Box and Muller
        return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
    }

 private:
    double uniform() {
        std::uint64_t x = state_ += 0x9e3779b97f4a7c15ull;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
        return (static_cast<double>((x ^ (x >> 31)) >> 11) + 0.5) / 9007199254740992.0;
    }
    std::uint64_t state_;
};

class SyntheticEngine {
 public:
    explicit SyntheticEngine(const Dispatch& job)
        : noise_(job.key.value), spec_(job.spec), planted_(spec_.method == "int8") {
        level_ = step_ns * std::exp(between * noise_.normal());
        if (planted_ && spec_.prompt == "slower 2%") {
            level_ *= 1.02;
        }
        if (const char* slowdown = std::getenv("METER_SLOWDOWN")) {
            level_ *= std::atof(slowdown);
        }
    }

    Result<Sequence> run() {
        const bool drifts = planted_ && spec_.prompt == "drift";
        const double level =
            level_ * std::exp(within * noise_.normal()) * (drifts ? 1 + 0.02 * sequences_ : 1);
        ++sequences_;
        Sequence one;
        one.trace.prompt_tokens = 1;
        one.trace.prefill_ns = static_cast<std::int64_t>(level);
        one.trace.token_ns.assign(static_cast<std::size_t>(spec_.new_tokens - 1),
                                  static_cast<std::int64_t>(level));
        now_ns += one.trace.prefill_ns + decode_time_ns(one.trace);
        one.new_ids.assign(static_cast<std::size_t>(spec_.new_tokens), 1);
        return one;
    }

    // Of a card, ten samples a second.
    DeviceRecord window(std::int64_t begin_ns) const {
        DeviceRecord record;
        record.before.at_ns = begin_ns;
        record.after.at_ns = now_ns;
        record.before.foreign = std::vector<DeviceProcess>{};
        record.after.foreign = std::vector<DeviceProcess>{};
        if (planted_ && spec_.prompt == "foreign") {
            record.after.foreign = std::vector<DeviceProcess>{{.pid = 1, .bytes = 1 << 20}};
        }
        const bool throttled = planted_ && spec_.prompt == "throttled";
        for (std::int64_t at = begin_ns; at < now_ns; at += 100'000'000) {
            record.samples.push_back({.at_ns = at,
                                      .sm_mhz = 1980,
                                      .memory_mhz = 2619,
                                      .temperature_c = 50,
                                      .power_w = 400,
                                      .throttle = throttled ? 0x40u : 0u});
        }
        return record;
    }

 private:
    Noise noise_;
    const JobSpec& spec_;
    bool planted_;
    double level_ = 0;
    int sequences_ = 0;
};

// How long a window on a CPU of its own, or shared with a real neighbour, waited for its core.
CoreWait wait_of(const JobSpec& spec) {
    if (spec.method != "int8") {
        return {.seconds = 1, .ran_s = 1, .waited_s = 0, .cores = 1};
    }
    const BusyNeighbour neighbour;
    const auto before = read_run_queue();
    compute_for(std::chrono::milliseconds(100));
    const auto after = read_run_queue();
    return before && after ? core_wait_between(*before, *after) : CoreWait{};
}

RunResult result_of(const Dispatch& job) {
    RunResult result = result_for(job);
    result.started_unix_ms = now_ns / 1'000'000;
    SyntheticEngine engine(job);
    std::int64_t begin = now_ns;
    const auto measured = run_workload(
        sampling_rule(job.spec.protocol, job.spec.warmup), [&] { return engine.run(); }, {},
        [&] { begin = now_ns; });
    result.finished_unix_ms = now_ns / 1'000'000;
    if (!measured) {
        result.outcome = {OutcomeClass::failure, measured.error().message, ""};
        return result;
    }
    const DeviceRecord record = engine.window(begin);
    MetricInput input{.trace = measured->trace, .device = &record};
    if (job.spec.prompt == "busy") {
        input.device = nullptr;
        input.core_wait = wait_of(job.spec);
    }
    result.measurements = measure(input);
    result.samples = raw_samples(input);
    return result;
}

}  // namespace
}  // namespace bitsweep

int main(int count, char** words) {
    using namespace bitsweep;
    const auto run = [](const Dispatch& job) { write_text(to_json(result_of(job)) + "\n"); };
    return run_program({.host = "synthetic", .cpu = "Synthetic", .models = {}, .run = run}, count,
                       words);
}
