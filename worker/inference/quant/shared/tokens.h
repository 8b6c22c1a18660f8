// 8-bit activations: one absmax per token (row), exact int32 sums against 8-bit weights.
#pragma once

#include <vector>

#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// Quantised rows in the call's workspace (slot_digits).
struct Tokens {
    std::int64_t rows = 0;
    std::int64_t inputs = 0;
    std::int64_t stride = 0;        // a multiple of 64; padding is zero
    std::int8_t* codes = nullptr;   // [rows, stride]
    float* scale = nullptr;         // [rows] absmax of what was quantised
    std::int32_t* start = nullptr;  // [rows] -128 * sum of the codes: undoes the weights' offset
};

Result<Tokens> reserve_tokens(const LayerBody& body, const LinearCall& call);

// codes = rint(x * (127 / absmax)) in float32 with ties to even, as bitsandbytes computes it, where
// |x| < threshold; elsewhere 0 and not part of absmax. threshold <= 0: everything counts. An
// all-zero row: scale 0, codes 0. Infinity or NaN below a threshold of 0 gives scale infinity or
// NaN, so that the output says so.
void quantize_token(const float* x, std::int64_t count, double threshold, std::int8_t* codes,
                    float* scale);

// codes = rint(x * (127 / largest)), at most 127 in magnitude; `largest` stands in the place of the
// row's own absmax. Where x or largest is not finite, *scale is NaN.
void quantize_token_by(const float* x, std::int64_t count, float largest, std::int8_t* codes,
                       float* scale);

// start[row] from the codes, which must be final.
void finish_token(const Tokens& tokens, std::int64_t row);

// acc[rows][16] of one tile of 8-bit codes: vector code for full tiles, plain loops otherwise.
// Narrow tiles leave the lanes beyond their rows at 0. rows <= few_rows.
void exact_tile(const LayerBody& body, const Kernels* kernels, const Tokens& tokens,
                std::int64_t first_row, std::int64_t rows, std::int64_t tile, std::int32_t* acc);

}  // namespace bitsweep::quant
