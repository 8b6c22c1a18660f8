// Decode and prefill of several methods of one model, interleaved round by round beside readings of
// the memory bandwidth: drift of a shared machine touches all of them alike, and each share is
// taken against the ceiling of its own moment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/model_files.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

struct BenchPlan {
    std::vector<std::string> methods;
    int head_bits = 8;
    int threads = 1;
    double threshold = 6.0;
    int rounds = 5;
    std::int64_t decode_tokens = 32;  // measured steps per round
    std::int64_t prefill_tokens = 128;
    int prefill_rounds = 2;
};

// Medians over rounds.
struct BenchRow {
    std::string method;
    int head_bits = 16;
    int threads = 1;
    bool rounds_activations = false;
    std::string isa;
    double decode_tokens_per_s = 0;
    double decode_low = 0, decode_high = 0;  // slowest and fastest round
    double prefill_tokens_per_s = 0;
    double bytes_per_token = 0;
    double read_bandwidth = 0;  // B/s, read before and after each round
    double share = 0;           // bytes per token x decode rate / bandwidth, round by round
    double over_fp16 = 0;       // decode rate, paired by round; 0: no fp16 in this run
    double load_s = 0;
};

// All methods are resident at once. Errors as load_engine and the engine report them.
Result<std::vector<BenchRow>> bench_model(const ModelFiles& files, const BenchPlan& plan,
                                          const Progress& progress);

}  // namespace bitsweep
