// SmoothQuant (quant/smoothquant/README.md) on one layer.
#include <algorithm>
#include <cmath>

#include "worker/inference/calibration/folding.h"

namespace bitsweep {
namespace {

constexpr float least = 1e-5f;  // of scales and of the weights' absmax

// absmax of every column over all readers of an input.
Result<std::vector<float>> column_absmax(const LayerStudy& layer, const SharedInput& readers) {
    std::vector<float> largest;
    for (const std::string& name : readers) {
        const WholeWeight weight = TRY(read_weight(layer.weights, name));
        largest.resize(static_cast<std::size_t>(weight.in), least);
        for (std::size_t at = 0; at < weight.values.size(); ++at) {
            float& column = largest[at % largest.size()];
            column = std::max(column, std::fabs(weight.values[at]));
        }
    }
    return largest;
}

// s = max|X|^alpha / max|W|^(1-alpha). A channel that was always zero stays as it is.
std::vector<float> migration(const std::vector<float>& inputs, const std::vector<float>& weights,
                             double alpha) {
    std::vector<float> scale(inputs.size(), 1.0f);
    for (std::size_t i = 0; i < scale.size(); ++i) {
        if (inputs[i] > 0) {
            const double moved = std::pow(static_cast<double>(inputs[i]), alpha) /
                                 std::pow(static_cast<double>(weights[i]), 1 - alpha);
            scale[i] = std::max(static_cast<float>(moved), least);
        }
    }
    return scale;
}

// The grid of per-tensor weights and the static scale of their input.
Status fix_scales(const LayerStudy& layer, const SharedInput& readers,
                  const std::vector<float>& inputs, const std::vector<float>& scale,
                  Calibration& to) {
    float input = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        input = std::max(input, scale.empty() ? inputs[i] : inputs[i] / scale[i]);
    }
    const bool per_tensor = !layer.options.method.text.ends_with("-channel");
    for (const std::string& name : readers) {
        to.vectors[input_absmax_name(name)] = {std::max(input, least)};
        if (!per_tensor) {
            continue;
        }
        const WholeWeight weight = TRY(read_weight(layer.weights, name));
        float largest = 0;
        for (const float value : weight.values) {
            largest = std::max(largest, std::fabs(value));
        }
        CalibratedWeight& decided = to.weights[name];
        decided.grid.assign(static_cast<std::size_t>(weight.out), largest);
        decided.grid_width = 1;
    }
    return {};
}

}  // namespace

Status decide_smoothquant(const LayerStudy& layer, Calibration& to) {
    TRY(check_norms(layer));
    const auto smooth = [&](const std::string& norm, const SharedInput& readers,
                            const InputStatistics& inputs) -> Status {
        const auto scale =
            migration(inputs.absmax(), TRY(column_absmax(layer, readers)), layer.options.alpha);
        TRY(fold_into_norm(layer, norm, readers, scale, to));
        return fix_scales(layer, readers, inputs.absmax(), scale, to);
    };
    TRY(smooth(layer.names.attention_norm, layer.names.qkv, layer.qkv));
    TRY(smooth(layer.names.mlp_norm, layer.names.up, layer.up));
    TRY(fix_scales(layer, layer.names.o, layer.o.absmax(), {}, to));
    return fix_scales(layer, layer.names.down, layer.down.absmax(), {}, to);
}

}  // namespace bitsweep
