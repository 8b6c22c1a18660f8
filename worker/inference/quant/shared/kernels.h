// Vector kernels over row tiles (tiles.h, dense.h), one table per instruction set. They serve
// full tiles of 16 rows; the last, narrower tile and Isa::generic take the readable reference
// of the method.
//
// Weight-only integer methods multiply in integers without rounding activations to 8 bits: x is
// written, per group of inputs, as a 24-bit fixed-point number of three signed base-256 digits,
//     x = s (65536 d2 + 256 d1 + d0),   s = absmax / 8355000,
// and each digit takes one u8 x s8 dot product of four inputs per lane. Integer sums are exact, so
// the only error is |x| <= absmax 2^-24 per activation: what a float32 sum loses anyway.
#pragma once

#include <cstdint>

#include "worker/inference/quant/shared/isa.h"

namespace bitsweep::quant {

inline constexpr int digit_planes = 3;
inline constexpr float digit_range = 8355000.0f;  // below 127 * 65536 + 127 * 256 + 127

// Activations -> digits. A group that holds NaN or infinity gets scale NaN, digits 0.
struct DigitsJob {
    const float* x = nullptr;  // [rows, inputs]
    std::int64_t rows = 1;
    std::int64_t inputs = 0;
    std::int64_t group = 0;         // inputs per scale, a multiple of 16
    std::int64_t groups = 0;        // ceil(inputs / group)
    std::int64_t stride = 0;        // bytes per digit row: inputs rounded up to 32, or more
    int code_offset = 0;            // 2^(bits-1)
    std::int8_t* digits = nullptr;  // [rows * 3, stride], planes d0, d1, d2 of each row
    float* scale = nullptr;         // [rows, groups]
    std::int32_t* start = nullptr;  // [rows * 3, groups]: -code_offset * sum of the digits
};

// y[rows][16] of one full tile: sum over groups of x scale * weight scale * integer sum.
struct GroupedJob {
    const std::uint8_t* codes = nullptr;
    std::int64_t inputs = 0;  // padded
    std::int64_t group = 0;
    std::int64_t groups = 0;
    const std::uint16_t* scales = nullptr;  // fp16 [groups][16]; null: 1
    const std::uint16_t* zeros = nullptr;   // fp16 [groups][16], in steps; null: 0
    float start_to_zero = 0;                // with zeros: 1 / code_offset
    const std::int8_t* digits = nullptr;
    std::int64_t stride = 0;
    const float* x_scale = nullptr;
    const std::int32_t* start = nullptr;
    std::int64_t rows = 1;
    float* y = nullptr;
};

// acc[rows][16] of one full 8-bit tile against 8-bit activations, exact. Overflow is impossible
// below 2^31 / (255 * 128) = 65,793 inputs.
struct ExactJob {
    const std::uint8_t* codes = nullptr;
    std::int64_t inputs = 0;              // padded
    const std::int8_t* digits = nullptr;  // [rows, stride]
    std::int64_t stride = 0;
    const std::int32_t* start = nullptr;  // [rows]: -128 * sum of the row
    std::int64_t rows = 1;
    std::int32_t* acc = nullptr;
};
inline constexpr std::int64_t exact_inputs_limit = 65'000;

// y[rows][16] of one full 4-bit tile through a code book; blocks of 64 or 32 inputs, inputs a
// multiple of that.
struct CodebookJob {
    const std::uint8_t* codes = nullptr;
    std::int64_t inputs = 0;
    std::int64_t block = 64;
    const float* scales = nullptr;    // [inputs / block][16]
    const float* codebook = nullptr;  // [16]
    const float* x = nullptr;         // [rows, inputs]
    std::int64_t rows = 1;
    float* y = nullptr;
};

// y[rows][16] of one full tile of dense rows (dense.h).
struct DenseJob {
    const void* w = nullptr;  // the tile, in the storage type
    std::int64_t inputs = 0;
    const float* x = nullptr;  // [rows, inputs]
    std::int64_t rows = 1;
    float* y = nullptr;
};

struct Kernels {
    void (*digits)(const DigitsJob&);
    void (*grouped[9])(const GroupedJob&);  // by bits, 2..8
    void (*exact)(const ExactJob&);
    void (*codebook)(const CodebookJob&);
    void (*dense_f32)(const DenseJob&);
    void (*dense_f16)(const DenseJob&);
    void (*dense_bf16)(const DenseJob&);
    void (*dense_e4m3)(const DenseJob&);  // of 2^-8 of the values (fp8/e4m3.h)
};

// nullptr for Isa::generic and for levels this build or machine lacks.
const Kernels* kernels(Isa isa);

namespace avx2 {
const Kernels& table();
}
namespace avx512 {
const Kernels& table();
}
namespace vnni {
const Kernels& table();
}

}  // namespace bitsweep::quant
