// A metric: one function in a file of its own subject, one row in table.cpp. Absent where it was
// not measured; never 0, NaN or a guess.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/catalog/memory.h"
#include "schemas/measurement.h"
#include "worker/inference/ceilings/device_ceilings.h"
#include "worker/inference/trace.h"
#include "worker/metrics/device_record.h"
#include "worker/metrics/quality.h"
#include "worker/metrics/run_queue.h"

namespace bitsweep {

// Greedy text against fp32's, token by token.
struct TextComparison {
    std::optional<std::int64_t> first_divergence;  // index of the first new token that differs
};

// Everything a metric may read. What was not measured stays empty or 0, as each line says.
struct MetricInput {
    const Trace& trace;
    MemoryBytes ledger;                  // after the last measured token
    std::uint64_t baseline_weights = 0;  // bytes of the same model at fp16, head 16; 0: not known
    std::uint64_t resident_before = 0;   // of the process before loading; 0: not read
    std::uint64_t peak_rss = 0;          // until the last measured token; 0: not read
    std::uint64_t bytes_per_token = 0;   // of one decode step; 0: not known
    double read_bandwidth = 0;           // B/s, beside the measurement; 0: not measured
    const QualityScores* quality = nullptr;
    std::optional<TextComparison> text;
    const DeviceRecord* device = nullptr;      // of a GPU: the measured window
    const DeviceCeilings* ceilings = nullptr;  // of a GPU
    double prefill_operations = 0;  // of one measured prefill (catalog/operations.h); 0: not known
    bool int8_products = false;     // the method multiplies on int8 units, not on fp16 ones
    std::optional<double> cpu_energy_j;  // without a GPU: RAPL, over the measured sequences
    std::optional<CoreWait> core_wait;   // of this process, over the measured sequences
};

// A number per part of the model: (part, value), stored as "id:part".
using PartSink = std::function<void(std::string_view part, double value)>;

struct MetricRow {
    std::string_view id;
    std::string_view unit;
    std::string_view meaning;
    std::optional<double> (*whole)(const MetricInput& input);                 // either this
    void (*parts)(const MetricInput& input, const PartSink& sink) = nullptr;  // or this
};

// The visible table.
std::span<const MetricRow> metric_table();

// Every row of the table that has a value; values that are not finite are left out.
std::vector<Measurement> measure(const MetricInput& input);

// Raw samples of one run: token_latency, decode_rate, prefill_rate, nll, kl, and of a GPU
// gpu_power, gpu_sm_clock, gpu_temperature.
std::vector<SampleSeries> raw_samples(const MetricInput& input);

// Scored tokens above which nll and kl are not kept as raw samples: 2 x 32,768 doubles are 0.5 MiB,
// about 1.2 MiB as JSON, in one message of at most a few MiB.
inline constexpr std::int64_t most_raw_quality_tokens = 32768;
// NVML samples of a window above which they are not kept: five minutes at ten a second.
inline constexpr std::size_t most_raw_device_samples = 3000;

}  // namespace bitsweep
