// GPTQ on one linear layer: codes whose error on the calibration inputs is smaller than that of
// rounding to nearest on the same grid. README.md here has the formula and its source.
#pragma once

#include <cstdint>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/backend/cpu/threads.h"

namespace bitsweep::quant {

enum class ActOrder { natural, by_moment };  // by_moment: inputs with large second moments first

struct GptqOptions {
    int bits = 4;
    std::int64_t group = 64;
    ActOrder order = ActOrder::by_moment;
    double damping = 0.01;  // share of the mean diagonal of H
};

struct GptqCodes {
    std::vector<std::uint8_t> codes;  // [out, in], offset 2^(bits-1)
    std::vector<float> scales;        // [out, groups], fp16-exact
    std::int64_t groups = 0;
    double damping_used = 0;
};

// `moments` is X^T X [in, in] of the calibration inputs, `weight` [out, in]. The grid is intB-gN's:
// scales are of the groups of the weight as it is, before any error is moved (static groups), so
// that an order of inputs needs no index beside the codes.
// invalid_numbers as hessian.h, and where a scale does not fit fp16.
Result<GptqCodes> solve_gptq(ThreadPool& threads, const std::vector<float>& weight,
                             std::int64_t out, std::int64_t in, const std::vector<double>& moments,
                             const GptqOptions& options);

// sum over rows of (w - v) M (w - v)^T: the squared error of the layer's outputs, summed over the
// calibration tokens. Products are in float32.
double output_error(ThreadPool& threads, const std::vector<float>& weight,
                    const std::vector<float>& other, std::int64_t in,
                    const std::vector<double>& moments);

// What the codes stand for, [out, in].
std::vector<float> effective_weights(const GptqCodes& codes, std::int64_t in,
                                     const GptqOptions& options);

// The weight rounded to nearest on the same grid: intB-gN.
std::vector<float> nearest_weights(const GptqCodes& codes, const std::vector<float>& weight,
                                   std::int64_t in, const GptqOptions& options);

}  // namespace bitsweep::quant
