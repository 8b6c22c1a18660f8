#include "worker/metrics/outliers.h"

#include <algorithm>

#include "worker/metrics/metric_functions.h"

namespace bitsweep {
namespace {

void merge_layer(LayerOutliers& total, const LayerOutliers& window) {
    const auto before = static_cast<double>(total.tokens);
    const auto more = static_cast<double>(window.tokens);
    if (before + more > 0) {
        total.columns_per_token =
            (total.columns_per_token * before + window.columns_per_token * more) / (before + more);
    }
    total.tokens += window.tokens;
    total.max_abs = std::max(total.max_abs, window.max_abs);
    total.seen.resize(std::max(total.seen.size(), window.seen.size()), 0);
    for (std::size_t i = 0; i < window.seen.size(); ++i) {
        total.seen[i] = total.seen[i] != 0 || window.seen[i] != 0 ? 1 : 0;
    }
    total.columns = std::count(total.seen.begin(), total.seen.end(), std::uint8_t{1});
}

// The head has bits of its own: no threshold takes columns out of it. Its own row stays.
bool is_head(const LayerOutliers& layer) {
    return layer.layer == "lm_head";
}

}  // namespace

void merge_outliers(std::vector<LayerOutliers>& total, const std::vector<LayerOutliers>& window) {
    for (std::size_t i = 0; i < window.size(); ++i) {
        const auto same_layer = [&](const LayerOutliers& known) {
            return known.layer == window[i].layer;
        };
        // Every window reports the layers in the same order: look at its own place first.
        auto known = i < total.size() && same_layer(total[i])
                         ? total.begin() + static_cast<std::ptrdiff_t>(i)
                         : std::find_if(total.begin(), total.end(), same_layer);
        if (known == total.end()) {
            total.push_back(window[i]);
        } else {
            merge_layer(*known, window[i]);
        }
    }
}

void outlier_columns_by_layer(const MetricInput& input, const PartSink& sink) {
    for (const LayerOutliers& layer : input.trace.outliers) {
        sink(layer.layer, static_cast<double>(layer.columns));
    }
}

void outlier_columns_per_token_by_layer(const MetricInput& input, const PartSink& sink) {
    for (const LayerOutliers& layer : input.trace.outliers) {
        sink(layer.layer, layer.columns_per_token);
    }
}

void outlier_max_abs_by_layer(const MetricInput& input, const PartSink& sink) {
    for (const LayerOutliers& layer : input.trace.outliers) {
        sink(layer.layer, layer.max_abs);
    }
}

Value outlier_columns(const MetricInput& input) {
    if (input.trace.outliers.empty()) {
        return std::nullopt;
    }
    double columns = 0;
    for (const LayerOutliers& layer : input.trace.outliers) {
        columns += is_head(layer) ? 0 : static_cast<double>(layer.columns);
    }
    return columns;
}

Value outlier_layers(const MetricInput& input) {
    if (input.trace.outliers.empty()) {
        return std::nullopt;
    }
    return static_cast<double>(std::count_if(
        input.trace.outliers.begin(), input.trace.outliers.end(),
        [](const LayerOutliers& layer) { return layer.columns > 0 && !is_head(layer); }));
}

}  // namespace bitsweep
