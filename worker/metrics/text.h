// Greedy text against fp32's: the same, or where it first differs.
#pragma once

#include <cstdint>
#include <span>

#include "worker/metrics/metric.h"

namespace bitsweep {

// Index of the first new token that differs; a text that ends early differs where it ends.
TextComparison compare_text(std::span<const std::int32_t> fp32,
                            std::span<const std::int32_t> method);

}  // namespace bitsweep
