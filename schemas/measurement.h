// Measurements are long rows: a new metric never changes a message or a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bitsweep {

// One number of one run. `sample` numbers repeated scalars (0 for a single one). A metric about a
// part of the model carries it after a colon: "outlier_columns:model.layers.3.mlp.down_proj".
struct Measurement {
    std::string metric;  // "decode_tokens_per_s", "perplexity", "weights_codes_bytes", ...
    std::string unit;    // "token/s", "1", "B", "ns", "nat", ...
    std::int64_t sample = 0;
    double value = 0;
};

// Raw samples of one quantity, in the order they were taken: every token's latency, for example.
struct SampleSeries {
    std::string metric;  // "token_latency"
    std::string unit;    // "ns"
    std::vector<double> values;
};

}  // namespace bitsweep
