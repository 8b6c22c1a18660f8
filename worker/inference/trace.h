// What the engine saw while it worked: plain numbers, std only, read by worker/metrics.
#pragma once

#include <cstdint>
#include <optional>
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

// What the host did for a device. Operations are kernels, copies and clears.
struct HostWork {
    std::int64_t launches = 0;     // operations that it queued one by one; a graph is one
    std::int64_t graph_nodes = 0;  // operations that graphs then ran
    std::int64_t syncs = 0;        // how often it waited for the device
};

// One measured sequence: a prefill and then decode steps, times in nanoseconds. Where the host
// takes part in every token, all of them are on its clock. Where tokens run free on a device,
// token_ns is on the device's clock, which sees each token, and decode_ns on the host's, which sees
// them all.
struct SequenceTrace {
    std::int64_t prompt_tokens = 0;  // per sequence of the batch
    std::int64_t batch = 1;
    std::int64_t prefill_ns = 0;         // prompt in, first new token chosen; the host's clock
    std::vector<std::int64_t> token_ns;  // every later new token
    std::int64_t decode_ns = 0;          // host clock around all of token_ns; 0: their sum
    // On a device: "stream", tokens ran free in one launch; or "steps: why not". "" on the CPU.
    std::string decoded_by;
    // For all of token_ns. Absent: not counted, as while a device's graphs are not made yet.
    std::optional<HostWork> host_work = HostWork{};
};

// Time of the decode steps together, for time per output token: the host's clock.
inline std::int64_t decode_time_ns(const SequenceTrace& trace) {
    if (trace.decode_ns > 0) {
        return trace.decode_ns;
    }
    std::int64_t ns = 0;
    for (const std::int64_t step : trace.token_ns) {
        ns += step;
    }
    return ns;
}

struct LoadTrace {
    std::int64_t open_ns = 0;  // map and check the files
    std::int64_t read_ns = 0;  // read and dequantise what the files store
    std::int64_t pack_ns = 0;  // quantise and lay out
    std::int64_t total_ns = 0;
    // Of the calibration that this method's weights come from, as the run that made it saw it; not
    // in total_ns. 0: the method does not calibrate.
    std::int64_t calibration_ns = 0;
    std::uint64_t calibration_peak_bytes = 0;
};

// Times of single linear layers inside decode steps, in the order of the layers.
struct LayerClock {
    struct Layer {
        std::string name;
        std::uint64_t bytes = 0;       // of weights, scales and bias that one step reads
        std::vector<std::int64_t> ns;  // one for each step
    };
    std::vector<Layer> layers;
};

// One linear layer quantised alone, everything else in fp32; and its share of a decode step.
struct LayerProbe {
    std::string layer;
    std::optional<double> kl;  // nat, mean per token
    std::optional<double> ns;  // median
    std::uint64_t bytes = 0;   // that one step reads of it
};

struct Trace {
    LoadTrace load;
    std::vector<SequenceTrace> warmup;
    std::vector<SequenceTrace> sequences;
    std::string stop_reason;  // why sampling ended: "half-width", "budget", "fixed"
    std::vector<LayerOutliers> outliers;
    std::vector<LayerProbe> layers;  // where asked for
};

}  // namespace bitsweep
