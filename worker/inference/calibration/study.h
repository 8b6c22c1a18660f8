// What a calibrating method sees of one decoder layer, and the table of those methods.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "worker/inference/calibration/calibrate.h"
#include "worker/inference/calibration/layer_names.h"
#include "worker/inference/calibration/statistics.h"
#include "worker/inference/config.h"

namespace bitsweep {

// Inputs of the four projections of a layer, over the whole slice.
struct LayerStudy {
    const ModelConfig& config;
    const CalibrationOptions& options;
    const WeightSource& weights;  // the model as decided so far
    LayerNames names;
    const InputStatistics& qkv;
    const InputStatistics& o;
    const InputStatistics& up;
    const InputStatistics& down;
    ThreadPool& threads;
};

// Where the next layer's inputs come from: this layer as it was, or as it was decided.
enum class NextInputs { original, decided };

struct CalibratingMethod {
    MethodFamily family;
    Moments moments;
    NextInputs next;
    // Writes the decisions about one layer.
    Status (*decide)(const LayerStudy& layer, Calibration& to);
};

// The visible table (table.cpp). nullptr: `family` does not calibrate.
const CalibratingMethod* calibrating_method(MethodFamily family);

// A whole weight [out, in].
struct WholeWeight {
    std::int64_t out = 0;
    std::int64_t in = 0;
    std::vector<float> values;
};
Result<WholeWeight> read_weight(const WeightSource& weights, const std::string& name);

// A whole vector.
Result<std::vector<float>> read_vector(const WeightSource& weights, const std::string& name);

// The methods, one file each.
Status decide_awq(const LayerStudy& layer, Calibration& to);
Status decide_gptq(const LayerStudy& layer, Calibration& to);
Status decide_smoothquant(const LayerStudy& layer, Calibration& to);

}  // namespace bitsweep
