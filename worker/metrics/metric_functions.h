// The functions behind the table, by file.
#pragma once

#include <optional>

#include "worker/metrics/metric.h"

namespace bitsweep {

using Value = std::optional<double>;

// throughput.cpp
Value decode_tokens_per_s(const MetricInput& input);
Value decode_half_width(const MetricInput& input);
Value prefill_tokens_per_s(const MetricInput& input);
Value prefill_half_width(const MetricInput& input);
Value first_token_ns(const MetricInput& input);
Value measured_sequences(const MetricInput& input);
Value warmup_sequences(const MetricInput& input);
Value decode_steps(const MetricInput& input);
// Per sequence, in order; sequences without a decode step are left out of the first.
std::vector<double> decode_rates(const Trace& trace);
std::vector<double> prefill_rates(const Trace& trace);

// latency.cpp
Value token_latency_p50(const MetricInput& input);
Value token_latency_p90(const MetricInput& input);
Value token_latency_p99(const MetricInput& input);
Value token_latency_mean(const MetricInput& input);
Value token_latency_min(const MetricInput& input);
Value token_latency_mad(const MetricInput& input);
Value token_latency_lag1(const MetricInput& input);
std::vector<double> token_latencies(const Trace& trace);

// host_work.cpp
Value launches_per_token(const MetricInput& input);
Value graph_nodes_per_token(const MetricInput& input);
Value syncs_per_token(const MetricInput& input);
Value host_gap_per_token(const MetricInput& input);

// run_queue.cpp
Value run_queue_wait_share(const MetricInput& input);
Value window_foreign_load(const MetricInput& input);

// load.cpp
Value load_ns(const MetricInput& input);
Value open_ns(const MetricInput& input);
Value read_ns(const MetricInput& input);
Value pack_ns(const MetricInput& input);
Value calibration_ns(const MetricInput& input);
Value calibration_peak_bytes(const MetricInput& input);

// memory.cpp
Value weights_codes_bytes(const MetricInput& input);
Value weights_scales_bytes(const MetricInput& input);
Value embeddings_bytes(const MetricInput& input);
Value other_weights_bytes(const MetricInput& input);
Value weights_bytes(const MetricInput& input);
Value weights_ratio(const MetricInput& input);
Value kv_cache_bytes(const MetricInput& input);
Value activations_bytes(const MetricInput& input);
Value workspace_bytes(const MetricInput& input);
Value allocated_bytes(const MetricInput& input);
Value resident_before_bytes(const MetricInput& input);
Value peak_rss_bytes(const MetricInput& input);

// bandwidth.cpp
Value bytes_per_token(const MetricInput& input);
Value read_bandwidth(const MetricInput& input);
Value read_bandwidth_share(const MetricInput& input);

// quality_metrics.cpp
Value perplexity(const MetricInput& input);
Value perplexity_fp32(const MetricInput& input);
Value bits_per_byte(const MetricInput& input);
Value kl_mean(const MetricInput& input);
Value kl_median(const MetricInput& input);
Value kl_p99(const MetricInput& input);
Value kl_max(const MetricInput& input);
Value top1_agreement(const MetricInput& input);
Value dp_rms(const MetricInput& input);
Value quality_tokens(const MetricInput& input);

// text.cpp
Value text_identical(const MetricInput& input);
Value text_first_divergence(const MetricInput& input);

// outliers.cpp
void outlier_columns_by_layer(const MetricInput& input, const PartSink& sink);
void outlier_columns_per_token_by_layer(const MetricInput& input, const PartSink& sink);
void outlier_max_abs_by_layer(const MetricInput& input, const PartSink& sink);
Value outlier_columns(const MetricInput& input);
Value outlier_layers(const MetricInput& input);

// layers.cpp
void kl_by_layer(const MetricInput& input, const PartSink& sink);
void latency_by_layer(const MetricInput& input, const PartSink& sink);
void bytes_by_layer(const MetricInput& input, const PartSink& sink);

// device_metrics.cpp
Value energy_per_token(const MetricInput& input);
Value energy_resolution(const MetricInput& input);
Value mean_power(const MetricInput& input);
Value cpu_energy_per_token(const MetricInput& input);
Value sm_clock_mean(const MetricInput& input);
Value sm_clock_min(const MetricInput& input);
Value memory_clock_mean(const MetricInput& input);
Value temperature_before(const MetricInput& input);
Value temperature_max(const MetricInput& input);
Value throttle_s(const MetricInput& input);
Value foreign_processes(const MetricInput& input);
Value ecc_corrected_errors(const MetricInput& input);
Value ecc_uncorrected_errors(const MetricInput& input);
Value window_s(const MetricInput& input);
Value device_samples(const MetricInput& input);
Value window_throttled(const MetricInput& input);
Value window_foreign_process(const MetricInput& input);
Value window_clock_drift(const MetricInput& input);
Value window_temperature_drift(const MetricInput& input);
Value device_memory_bytes(const MetricInput& input);
Value device_context_bytes(const MetricInput& input);
Value device_memory_gap_bytes(const MetricInput& input);
// Values of the samples that have one, in order.
std::vector<double> device_series(const DeviceRecord& record,
                                  std::optional<double> DeviceSample::*which);

// ceilings.cpp
Value copy_bandwidth(const MetricInput& input);
Value launch_latency(const MetricInput& input);
Value launch_round_trip(const MetricInput& input);
Value graph_node_latency(const MetricInput& input);
Value fp16_products(const MetricInput& input);
Value int8_products(const MetricInput& input);
Value prefill_products(const MetricInput& input);
Value prefill_products_share(const MetricInput& input);

}  // namespace bitsweep
