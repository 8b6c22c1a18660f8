// AWQ's two searches on the linears that read one input: a scale for each input channel, and a
// limit for each group of weights. README.md here has the formulas and their source.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "worker/inference/backend/cpu/threads.h"

namespace bitsweep::quant {

struct AwqGrid {
    int bits = 4;
    std::int64_t group = 64;
    int ratios = 20;  // r = 0, 1/20 .. 19/20
    int clips = 10;   // limits 1, 19/20 .. 11/20 of a group's absmax
};

// One weight [out, in].
struct AwqWeight {
    std::span<const float> values;
    std::int64_t out = 0;
};

// What every point of the grid costs: the squared error of all outputs over the calibration tokens.
struct AwqScales {
    std::vector<float> scale;    // [in] of the best ratio, mean about 1
    std::vector<double> errors;  // [ratios]
    int best = 0;                // index of the smallest error, the first of equals
};

// `mean_abs` [in] of the inputs, `moments` X^T X [in, in].
AwqScales search_scales(ThreadPool& threads, std::span<const AwqWeight> weights,
                        std::span<const float> mean_abs, std::span<const double> moments,
                        const AwqGrid& grid);

// The scales that ratio r gives: mean_abs^r, at least 1e-4, over sqrt(largest * smallest).
std::vector<float> scales_of(std::span<const float> mean_abs, double ratio);

// Limits [out, groups] of a weight that is scaled already, on inputs divided by `scale`.
// Rows below `first_row` are not limited.
inline constexpr float no_limit = std::numeric_limits<float>::max();
std::vector<float> search_clips(ThreadPool& threads, const AwqWeight& weight,
                                std::span<const float> scale, std::span<const double> moments,
                                std::int64_t first_row, const AwqGrid& grid);

// One group through the codes of intB-gN-asym and back.
void round_group(const float* values, std::int64_t count, int bits, float* rounded);

}  // namespace bitsweep::quant
