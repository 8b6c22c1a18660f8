// Sequences of the engine with words about their progress, and the clocks of this room.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/generate.h"

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

// generate_sequence, telling `progress` every few seconds.
Result<Sequence> run_sequence(Engine& engine, const SequencePlan& plan, const Progress& progress);

std::int64_t monotonic_ns();
std::int64_t unix_ms();

}  // namespace bitsweep
