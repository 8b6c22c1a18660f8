// Weights of int8 and w8a8: symmetric, one scale absmax / 127 per output channel.
#pragma once

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// Codes rint(w * 127 / absmax) in tile order, float32 scales [out]. A calibrated weight's grid is
// the absmax of each row, at least that of its values.
Result<LayerBody> pack_int8_weights(const DenseWeight& weight, const MethodOptions& options,
                                    Backend& backend);

// invalid_input for a layer so wide that int32 sums of 8-bit products could overflow.
Status check_exact_width(const DenseWeight& weight);

// Codes and factors [out] -> effective weights code * factor, rows [begin, end).
void dequantize_int8(const LayerBody& body, const float* factor, std::int64_t begin,
                     std::int64_t end, float* dst);

// Two's complement codes, row-major, and the stored scales.
PackedExport export_int8(const LayerBody& body, std::string layout);

}  // namespace bitsweep::quant
