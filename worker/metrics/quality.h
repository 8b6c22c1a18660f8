// Quality of a method against the same model's fp32 logits, token by token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

// What one position says: log-softmax, argmax and KL divergence in double from float32 logits.
struct PositionScore {
    double nll = 0;       // -log p_method(target), nats
    double nll_fp32 = 0;  // -log p_fp32(target)
    double kl = 0;        // KL(fp32 || method), nats, >= 0
    double dp = 0;        // p_method(target) - p_fp32(target)
    bool same_top = false;
    bool finite = true;  // false: a logit was NaN or infinite, the rest means nothing
};

// `fp32` and `method` [vocabulary]; target in [0, vocabulary).
PositionScore score_position(const float* fp32, const float* method, std::int64_t vocabulary,
                             std::int32_t target);

// The scored tokens of one run, in order.
struct QualityScores {
    std::vector<double> nll;
    std::vector<double> nll_fp32;
    std::vector<double> kl;
    std::vector<double> dp;
    std::int64_t same_top = 0;
    std::int64_t text_bytes = 0;  // UTF-8 bytes of the scored tokens; 0: not known

    std::int64_t tokens() const { return static_cast<std::int64_t>(nll.size()); }

    // Adds `targets.size()` consecutive positions; logits are [targets.size(), vocabulary].
    // invalid_numbers names the position (counted over the whole text) and which side it was.
    Status add(const float* fp32, const float* method, std::int64_t vocabulary,
               std::span<const std::int32_t> targets);
};

}  // namespace bitsweep
