// A packed weight on a CUDA device, as plain data: the same bytes serve the streaming kernel
// (worker/inference/decode) and the kernels for any number of rows. No CUDA header needed.
#pragma once

#include <cstdint>

#include "worker/inference/decode/program.h"

namespace bitsweep {

// Device pointers; owned by the DeviceLinear that hands it out. `scales` by kind:
//   i8          float [rows], the factor of a code
//   e4m3        float [rows], or [1]: one for all rows
//   i8_i8       float [rows], absmax of the row (bitsandbytes' SCB; w8a8 divides it by 127), or
//               with zeros half the range that its codes cover
//   i4_group, i8_group, planes   half [rows][scales_per_row]
//   lut4        float [rows][scales_per_row], one absmax per group
//   lut4_flat   float [ceil(rows * in_features / group)], blocks run over row ends
//               or, of both, with scale_codes: an offset and the scales of those (block_scales.h)
struct DeviceMatrix {
    decode::Codes kind = decode::Codes::f16;
    const std::uint8_t* codes = nullptr;  // [rows][row_chunks][16], padding is zero
    const void* scales = nullptr;
    // Of groups: half [rows][scales_per_row] in steps. Of i8_i8: int32 [rows] in steps, and behind
    // them int32 [rows] sums of codes. Null: 0.
    const void* zeros = nullptr;
    const float* bias = nullptr;  // [rows] or null
    // i8_i8: half [in_features][rows], what outliers meet; null: the codes.
    const void* originals = nullptr;
    // lut4 and lut4_flat: 16 values, and behind them 256 where there are scale_codes.
    const float* code_book = nullptr;
    const std::uint8_t* scale_codes = nullptr;  // [blocks], scales in 8 bits; null: floats
    std::int64_t rows = 0;
    std::int32_t in_features = 0;
    std::int32_t row_chunks = 0;
    std::int32_t group = 0;           // weights per scale; 0: one a row, or none
    std::int32_t scales_per_row = 0;  // ceil(in_features / group) where there are groups
    std::int32_t bits = 16;           // of a code
    float input_absmax = 0;           // i8_i8: static scale of activations; 0: as they come
    float threshold = 0;              // i8_i8: outliers are |x| >= threshold; 0: none
};

// Chunks of 16 bytes that a row of `in_features` weights takes.
inline std::int32_t row_chunks_of(decode::Codes kind, int bits, std::int64_t in_features) {
    if (kind == decode::Codes::planes) {
        return static_cast<std::int32_t>((in_features + 127) / 128 * bits);
    }
    const std::int64_t weights = decode::weights_per_chunk(kind);
    return static_cast<std::int32_t>((in_features + weights - 1) / weights);
}

}  // namespace bitsweep
