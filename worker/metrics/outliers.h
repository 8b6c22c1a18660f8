// Outlier columns of several windows of one text, merged layer by layer.
#pragma once

#include <vector>

#include "worker/inference/trace.h"

namespace bitsweep {

// Adds the reports of one more window: columns are the union over windows (LayerOutliers::seen),
// the mean per token is weighted by tokens. Layers keep the order in which they first came.
void merge_outliers(std::vector<LayerOutliers>& total, const std::vector<LayerOutliers>& window);

}  // namespace bitsweep
