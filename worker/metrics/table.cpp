#include <array>
#include <cmath>

#include "worker/metrics/metric.h"
#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

using Row = MetricRow;

constexpr std::array table = {
    Row{"decode_tokens_per_s", "token/s", "median decode rate over sequences", decode_tokens_per_s},
    Row{"decode_half_width", "1", "relative 95 % half-width of that median", decode_half_width},
    Row{"prefill_tokens_per_s", "token/s", "median prefill rate over sequences",
        prefill_tokens_per_s},
    Row{"prefill_half_width", "1", "relative 95 % half-width of that median", prefill_half_width},
    Row{"first_token_ns", "ns", "median time from the prompt to the first new token",
        first_token_ns},
    Row{"token_latency_p50", "ns", "median decode step", token_latency_p50},
    Row{"token_latency_p90", "ns", "90th percentile of decode steps", token_latency_p90},
    Row{"token_latency_p99", "ns", "99th percentile of decode steps", token_latency_p99},
    Row{"token_latency_mean", "ns", "mean decode step", token_latency_mean},
    Row{"token_latency_min", "ns", "fastest decode step", token_latency_min},
    Row{"token_latency_mad", "ns", "median absolute deviation of decode steps", token_latency_mad},
    Row{"token_latency_lag1", "1", "autocorrelation of neighbouring decode steps",
        token_latency_lag1},
    Row{"launches_per_token", "1", "queued by the host per decode step, a graph being one",
        launches_per_token},
    Row{"graph_nodes_per_token", "1", "operations of graphs per decode step",
        graph_nodes_per_token},
    Row{"syncs_per_token", "1", "times the host waited for the device per decode step",
        syncs_per_token},
    Row{"host_gap_per_token", "ns", "host's clock minus the device's per decode step",
        host_gap_per_token},
    Row{"sequences", "1", "measured sequences", measured_sequences},
    Row{"warmup_sequences", "1", "sequences before the first sample", warmup_sequences},
    Row{"decode_steps", "1", "measured decode steps", decode_steps},
    Row{"load_ns", "ns", "from files to a ready engine", load_ns},
    Row{"open_ns", "ns", "mapping and checking the files", open_ns},
    Row{"read_ns", "ns", "reading what the files store", read_ns},
    Row{"pack_ns", "ns", "quantising and laying out", pack_ns},
    Row{"calibration_ns", "ns", "running the text and deciding, in the run that did",
        calibration_ns},
    Row{"calibration_peak_bytes", "B", "fp32 model, rows and statistics meanwhile",
        calibration_peak_bytes},
    Row{"weights_codes_bytes", "B", "packed codes of all linear layers", weights_codes_bytes},
    Row{"weights_scales_bytes", "B", "their scales", weights_scales_bytes},
    Row{"embeddings_bytes", "B", "embeddings and output head", embeddings_bytes},
    Row{"other_weights_bytes", "B", "norms and biases", other_weights_bytes},
    Row{"weights_bytes", "B", "all weights", weights_bytes},
    Row{"weights_ratio", "1", "over the same model at fp16 with a 16-bit head", weights_ratio},
    Row{"kv_cache_bytes", "B", "KV cache", kv_cache_bytes},
    Row{"activations_bytes", "B", "buffers that live through a token", activations_bytes},
    Row{"workspace_bytes", "B", "scratch of kernels", workspace_bytes},
    Row{"allocated_bytes", "B", "the whole ledger", allocated_bytes},
    Row{"resident_before_bytes", "B", "process before loading", resident_before_bytes},
    Row{"peak_rss_bytes", "B", "process until the last measured token", peak_rss_bytes},
    Row{"bytes_per_token", "B", "read by one decode step", bytes_per_token},
    Row{"read_bandwidth", "B/s", "of this machine's memory, beside the measurement",
        read_bandwidth},
    Row{"read_bandwidth_share", "1", "what decode uses of it: the share of the byte floor",
        read_bandwidth_share},
    Row{"copy_bandwidth", "B/s", "of this card, read and written", copy_bandwidth},
    Row{"launch_latency", "ns", "of this card, per empty kernel queued", launch_latency},
    Row{"launch_round_trip", "ns", "of this card, one empty kernel waited for", launch_round_trip},
    Row{"graph_node_latency", "ns", "of this card, per empty kernel of a graph",
        graph_node_latency},
    Row{"fp16_products", "FLOP/s", "of this card, largest fp16 matrix product", fp16_products},
    Row{"int8_products", "OP/s", "of this card, largest int8 matrix product", int8_products},
    Row{"prefill_products", "OP/s", "matrix products of the prefill, achieved", prefill_products},
    Row{"prefill_products_share", "1", "of what this card's products of that type reach",
        prefill_products_share},
    Row{"energy_per_token", "mJ/token", "of the card over the measured window", energy_per_token},
    Row{"energy_resolution", "1", "relative uncertainty of the window's two ends",
        energy_resolution},
    Row{"mean_power", "W", "of the card over the window", mean_power},
    Row{"cpu_energy_per_token", "mJ/token", "of all CPU packages (RAPL)", cpu_energy_per_token},
    Row{"sm_clock_mean", "MHz", "over the window's samples", sm_clock_mean},
    Row{"sm_clock_min", "MHz", "over the window's samples", sm_clock_min},
    Row{"memory_clock_mean", "MHz", "over the window's samples", memory_clock_mean},
    Row{"temperature_before", "C", "of the card when the window began", temperature_before},
    Row{"temperature_max", "C", "over the window's samples", temperature_max},
    Row{"throttle_s", "s", "of the window in which the card was slowed", throttle_s},
    Row{"foreign_processes", "1", "other compute processes on the card", foreign_processes},
    Row{"ecc_corrected_errors", "1", "new in the window", ecc_corrected_errors},
    Row{"ecc_uncorrected_errors", "1", "new in the window", ecc_uncorrected_errors},
    Row{"window_s", "s", "first to last measured token, as the card was watched", window_s},
    Row{"device_samples", "1", "NVML samples in the window", device_samples},
    Row{"window_throttled", "1", "more than a tenth of the samples slowed", window_throttled},
    Row{"window_foreign_process", "1", "somebody else used the card", window_foreign_process},
    Row{"window_clock_drift", "1", "the SM clock moved by more than 5 %", window_clock_drift},
    Row{"window_temperature_drift", "1", "the card moved by more than 10 C",
        window_temperature_drift},
    Row{"run_queue_wait_share", "1", "waits of its threads for a core, over the window",
        run_queue_wait_share},
    Row{"window_foreign_load", "1", "other processes took more than 5 % of the CPU's window",
        window_foreign_load},
    Row{"device_memory_bytes", "B", "of this process on the card", device_memory_bytes},
    Row{"device_context_bytes", "B", "of it before the model", device_context_bytes},
    Row{"device_memory_gap_bytes", "B", "of it in neither context nor ledger",
        device_memory_gap_bytes},
    Row{"perplexity", "1", "over the scored tokens", perplexity},
    Row{"perplexity_fp32", "1", "of the fp32 reference", perplexity_fp32},
    Row{"bits_per_byte", "bit/B", "of the scored text", bits_per_byte},
    Row{"kl_mean", "nat", "KL(fp32 || method), mean", kl_mean},
    Row{"kl_median", "nat", "KL(fp32 || method), median", kl_median},
    Row{"kl_p99", "nat", "KL(fp32 || method), 99th percentile", kl_p99},
    Row{"kl_max", "nat", "KL(fp32 || method), largest", kl_max},
    Row{"top1_agreement", "1", "share of tokens with fp32's most likely token", top1_agreement},
    Row{"dp_rms", "1", "RMS difference of the target's probability", dp_rms},
    Row{"quality_tokens", "1", "tokens scored", quality_tokens},
    Row{"text_identical", "1", "greedy text equals fp32's", text_identical},
    Row{"text_first_divergence", "1", "first new token that differs", text_first_divergence},
    Row{"outlier_columns", "1", "outlier columns, summed over layers but the head",
        outlier_columns},
    Row{"outlier_layers", "1", "layers with outlier columns, the head apart", outlier_layers},
    Row{"outlier_columns", "1", "by layer", nullptr, outlier_columns_by_layer},
    Row{"outlier_columns_per_token", "1", "by layer", nullptr, outlier_columns_per_token_by_layer},
    Row{"outlier_max_abs", "1", "by layer", nullptr, outlier_max_abs_by_layer},
    Row{"layer_kl", "nat", "mean, that linear layer alone quantised", nullptr, kl_by_layer},
    Row{"layer_latency", "ns", "median of that linear layer in a decode step", nullptr,
        latency_by_layer},
    Row{"layer_bytes", "B", "of that linear layer that a decode step reads", nullptr,
        bytes_by_layer},
};

void add(std::vector<Measurement>& all, std::string metric, std::string_view unit, double value) {
    if (std::isfinite(value)) {
        all.push_back({std::move(metric), std::string(unit), 0, value});
    }
}

}  // namespace

std::span<const MetricRow> metric_table() {
    return table;
}

std::vector<Measurement> measure(const MetricInput& input) {
    std::vector<Measurement> all;
    for (const MetricRow& row : table) {
        if (row.whole != nullptr) {
            if (const auto value = row.whole(input)) {
                add(all, std::string(row.id), row.unit, *value);
            }
            continue;
        }
        row.parts(input, [&](std::string_view part, double value) {
            add(all, std::string(row.id) + ":" + std::string(part), row.unit, value);
        });
    }
    return all;
}

std::vector<SampleSeries> raw_samples(const MetricInput& input) {
    std::vector<SampleSeries> all;
    const auto keep = [&](const char* metric, const char* unit, std::vector<double> values) {
        if (!values.empty()) {
            all.push_back({metric, unit, std::move(values)});
        }
    };
    keep("token_latency", "ns", token_latencies(input.trace));
    keep("decode_rate", "token/s", decode_rates(input.trace));
    keep("prefill_rate", "token/s", prefill_rates(input.trace));
    if (input.device != nullptr && input.device->samples.size() <= most_raw_device_samples) {
        keep("gpu_power", "W", device_series(*input.device, &DeviceSample::power_w));
        keep("gpu_sm_clock", "MHz", device_series(*input.device, &DeviceSample::sm_mhz));
        keep("gpu_temperature", "C", device_series(*input.device, &DeviceSample::temperature_c));
    }
    if (input.quality != nullptr && input.quality->tokens() <= most_raw_quality_tokens) {
        keep("nll", "nat", input.quality->nll);
        keep("kl", "nat", input.quality->kl);
    }
    return all;
}

}  // namespace bitsweep
