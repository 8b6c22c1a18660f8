// One greedy sequence on an engine: a timed prefill and timed decode steps.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/trace.h"

namespace bitsweep {

// Told what the job is doing, in words: "loading", "sequence 3". Cheap; may be empty.
using Progress = std::function<void(const std::string& what)>;

// Calls `progress` at most every two seconds: the owner may ask after every token.
class SparseProgress {
 public:
    explicit SparseProgress(const Progress& progress);
    void say(const std::string& what);

 private:
    const Progress& progress_;
    std::int64_t last_ns_;
};

struct SequencePlan {
    std::vector<std::int32_t> prompt;  // the same for every sequence of the batch
    std::int64_t batch = 1;
    std::int64_t new_tokens = 1;  // exactly this many, unless stop_id appears
    std::int32_t stop_id = -1;    // -1: never stop early
    std::int64_t vocabulary = 0;
};

struct Sequence {
    SequenceTrace trace;
    std::vector<std::int32_t> new_ids;  // of the first sequence of the batch
};

// Resets the engine first. Errors are the engine's (invalid_numbers for logits that are not
// finite).
Result<Sequence> run_sequence(Engine& engine, const SequencePlan& plan, const Progress& progress);

std::int64_t monotonic_ns();
std::int64_t unix_ms();

}  // namespace bitsweep
