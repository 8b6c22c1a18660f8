// Quality against bits and size (scaling.h has the law).
#pragma once

#include "results/analysis/scaling.h"

namespace bitsweep {

// `known` is false with fewer than 2 bit widths, 2 sizes or 5 points.
QualityFit fit_quality(const Evidence& evidence);

}  // namespace bitsweep
