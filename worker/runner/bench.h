// Decode and prefill of several methods of one model, interleaved round by round beside readings of
// the memory bandwidth: drift of a shared machine touches all of them alike, and each share is
// taken against the ceiling of its own moment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/model_files.h"
#include "worker/runner/bench_calibrations.h"
#include "worker/runner/devices.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

struct BenchMethod {
    std::string method;
    double threshold = 6.0;  // read by the methods that read one
};

struct BenchPlan {
    std::vector<BenchMethod> methods;
    Device device;
    int head_bits = 8;  // 0: 16 for methods of 16 bits and more, 8 for the others
    int threads = 1;
    DecodePath decode_path = DecodePath::automatic;
    std::int64_t batch = 1;
    int rounds = 5;
    std::int64_t prompt_tokens = 8;   // positions filled before the decode steps
    std::int64_t decode_tokens = 32;  // measured steps per round
    std::int64_t prefill_tokens = 128;
    int prefill_rounds = 2;
};

// Medians over rounds.
struct BenchRow {
    std::string method;  // with "@threshold" where it reads one
    int head_bits = 16;
    int threads = 1;
    DecodePath decode_path = DecodePath::automatic;
    std::int64_t batch = 1;
    bool rounds_activations = false;
    std::string decoded_by;  // trace.h
    double decode_tokens_per_s = 0;
    double decode_low = 0, decode_high = 0;   // slowest and fastest round
    double step_ns_p50 = 0, step_ns_p99 = 0;  // over all steps, on the clock of token_ns
    double prefill_tokens_per_s = 0;
    double bytes_per_token = 0;  // of one step of the whole batch
    double read_bandwidth = 0;   // B/s, read before and after each round
    double share = 0;            // bytes per step x steps per second / bandwidth, round by round
    double over_fp16 = 0;        // decode rate, paired by round; 0: no fp16 in this run
    double load_s = 0;
    std::int64_t calibration_tokens = 0;  // that the method decided from; 0: from none
};

// "fp16", or "llmint8-fused@0" with a threshold of its own. invalid_input, unsupported.
Result<BenchMethod> parse_bench_method(const std::string& text, const Device& device);

// All methods are resident at once. `calibrations` are of `files`. Errors as load_engine, the
// engine and BenchCalibrations report them.
Result<std::vector<BenchRow>> bench_model(const ModelFiles& files, BenchCalibrations& calibrations,
                                          const BenchPlan& plan, const Progress& progress);

}  // namespace bitsweep
