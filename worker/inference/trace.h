// What the engine saw while it worked: plain numbers, std only, read by worker/metrics.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bitsweep {

// Outlier columns of one linear layer's input at the job's threshold.
struct LayerOutliers {
    std::string layer;  // "model.layers.3.mlp.down_proj"
    std::int64_t in_features = 0;
    std::int64_t columns = 0;  // distinct input features with |x| >= threshold anywhere in the text
    double columns_per_token = 0;  // mean over tokens
    double max_abs = 0;
    std::int64_t tokens = 0;         // rows behind the mean
    std::vector<std::uint8_t> seen;  // [in_features] 1 where counted, so that texts can be merged
};

// One measured sequence: a prefill and then decode steps, times in nanoseconds on the host clock.
struct SequenceTrace {
    std::int64_t prompt_tokens = 0;  // per sequence of the batch
    std::int64_t batch = 1;
    std::int64_t prefill_ns = 0;         // prompt in, first new token chosen
    std::vector<std::int64_t> token_ns;  // every later new token
};

struct LoadTrace {
    std::int64_t open_ns = 0;  // map and check the files
    std::int64_t read_ns = 0;  // read and dequantise what the files store
    std::int64_t pack_ns = 0;  // quantise and lay out
    std::int64_t total_ns = 0;
};

struct Trace {
    LoadTrace load;
    std::vector<SequenceTrace> warmup;
    std::vector<SequenceTrace> sequences;
    std::string stop_reason;  // why sampling ended: "half-width", "budget", "fixed"
    std::vector<LayerOutliers> outliers;
};

}  // namespace bitsweep
