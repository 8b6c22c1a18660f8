// Moving a scale of input channels out of the linears that read them and into what makes those
// inputs, so that the model computes the same function: used by smoothquant and awq.
#pragma once

#include <string>
#include <vector>

#include "worker/inference/calibration/study.h"

namespace bitsweep {

// unsupported where the norms of `layer` cannot take a scale: norms after the blocks, whose output
// is also the residual stream, or norms without weights.
Status check_norms(const LayerStudy& layer);

// `readers` are multiplied by scale[in], `norm` divided by it.
Status fold_into_norm(const LayerStudy& layer, const std::string& norm, const SharedInput& readers,
                      const std::vector<float>& scale, Calibration& to);

// `readers` are multiplied by scale[in], rows [first_row, first_row + in) of linear `maker` (and
// its bias) divided by it.
Status fold_into_rows(const LayerStudy& layer, const std::string& maker, std::int64_t first_row,
                      const SharedInput& readers, const std::vector<float>& scale, Calibration& to);

}  // namespace bitsweep
