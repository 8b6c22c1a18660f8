// The fp32 side of every quality number: greedy text and logits of the same model at full
// precision. Kept between the jobs of one model while they fit; the fp32 engine itself is dropped
// after use, so that its memory does not stand beside the next measured job.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

// Windows of consecutive tokens, none overlapping; window w is ids[w * window, (w + 1) * window).
struct ScoredWindows {
    std::span<const std::int32_t> ids;
    std::int64_t window = 0;
    std::int64_t count = 0;
    std::string text_digest;  // identifies the ids between jobs

    std::span<const std::int32_t> at(std::int64_t index) const {
        return ids.subspan(static_cast<std::size_t>(index * window),
                           static_cast<std::size_t>(window));
    }
};

class Reference {
 public:
    explicit Reference(std::uint64_t most_bytes) : most_bytes_(most_bytes) {}

    // Greedy ids of fp32 for the plan's prompt (its batch is taken as 1).
    Result<std::vector<std::int32_t>> greedy(const ModelFiles& files, const SequencePlan& plan,
                                             int threads, const Progress& progress);

    // Makes rows() answer for these windows: computes all logits now if they fit `most_bytes`, else
    // keeps an fp32 engine that computes each window when it is asked for.
    Status prepare(const ModelFiles& files, const ScoredWindows& windows, int threads,
                   const Progress& progress);

    // fp32 logits [window - 1, vocabulary] of window `index` (the last position has no target);
    // valid until the next call.
    Result<const float*> rows(const ScoredWindows& windows, std::int64_t index);

    // Drops the fp32 engine; kept logits and texts stay.
    void release_engine();

 private:
    Status load_engine_for(const ModelFiles& files, std::int64_t context, int threads,
                           const Progress& progress);
    Status compute(std::span<const std::int32_t> ids, std::int64_t vocabulary, float* to);

    std::uint64_t most_bytes_;
    std::map<std::string, std::vector<std::int32_t>> greedy_;
    std::string kept_key_;
    std::vector<float> kept_;  // all windows, or one of them in lock-step
    bool kept_all_ = false;
    std::int64_t vocabulary_ = 0;
    std::unique_ptr<Engine> engine_;
    std::int64_t engine_context_ = 0;
};

}  // namespace bitsweep
