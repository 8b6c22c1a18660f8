#include "worker/inference/calibration/folding.h"

#include <algorithm>
#include <functional>

namespace bitsweep {
namespace {

Status divide(const LayerStudy& layer, const std::string& name, std::size_t first,
              const std::vector<float>& scale, Calibration& to) {
    std::vector<float> values = TRY(read_vector(layer.weights, name));
    for (std::size_t i = 0; i < scale.size(); ++i) {
        values[first + i] /= scale[i];
    }
    to.vectors[name] = std::move(values);
    return {};
}

void multiply_columns(const SharedInput& readers, const std::vector<float>& scale,
                      Calibration& to) {
    for (const std::string& name : readers) {
        to.weights[name].columns = scale;
    }
}

}  // namespace

Status check_norms(const LayerStudy& layer) {
    const bool before = layer.config.norm_placement == NormPlacement::pre;
    if (before && layer.config.norm_affine) {
        return {};
    }
    return make_error(ErrorCode::unsupported,
                      layer.config.name + ": " + layer.options.method.text + " folds scales into " +
                          (before ? "the weights of norms, and these norms have none"
                                  : "norms before the blocks; here they stand behind, where their "
                                    "output is also the residual stream") +
                          "; take a method without folding, such as w8a8 or gptq-int4-g64");
}

Status fold_into_norm(const LayerStudy& layer, const std::string& norm, const SharedInput& readers,
                      const std::vector<float>& scale, Calibration& to) {
    TRY(divide(layer, norm + ".weight", 0, scale, to));
    if (layer.weights.contains(norm + ".bias")) {
        TRY(divide(layer, norm + ".bias", 0, scale, to));
    }
    multiply_columns(readers, scale, to);
    return {};
}

Status fold_into_rows(const LayerStudy& layer, const std::string& maker, std::int64_t first_row,
                      const SharedInput& readers, const std::vector<float>& scale,
                      Calibration& to) {
    const auto first = static_cast<std::size_t>(first_row);
    const auto shape = TRY(layer.weights.shape(maker));
    std::vector<float>& rows = to.weights[maker].rows;
    rows.resize(static_cast<std::size_t>(shape[0]), 1.0f);
    std::transform(scale.begin(), scale.end(), rows.begin() + first_row, rows.begin() + first_row,
                   std::multiplies<>());
    if (layer.weights.contains(bias_of(maker))) {
        TRY(divide(layer, bias_of(maker), first, scale, to));
    }
    multiply_columns(readers, scale, to);
    return {};
}

}  // namespace bitsweep
