// Calibration: runs a model in fp32 on the CPU over a slice of text, layer by layer, and lets the
// method decide what its weights become. Same files, text and options, same machine: same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "schemas/catalog/methods.h"
#include "schemas/status.h"
#include "worker/inference/calibration/calibrated_weights.h"
#include "worker/inference/model_files.h"

namespace bitsweep {

struct CalibrationOptions {
    MethodId method;
    double alpha = 0.5;         // smoothquant's migration strength, 0 to 1
    std::int64_t window = 256;  // tokens of a sequence; clamped to the model's positions
    int threads = 1;
};

using CalibrationProgress = std::function<void(const std::string& what)>;

// Raised when the decisions of any method may change: part of the key of what is kept.
inline constexpr int calibration_revision = 1;

// `ids`: whole windows are used, the rest is left out. Memory: the fp32 model, the residual rows of
// all ids, and, for gptq and awq, 8 bytes times the square of the inputs of one layer's linears.
// invalid_input: less than one window, ids outside the vocabulary; unsupported: a method that does
// not calibrate, or a model that it cannot (the message says why); invalid_numbers, out_of_memory.
Result<Calibration> calibrate(const ModelFiles& files, const CalibrationOptions& options,
                              std::span<const std::int32_t> ids,
                              const CalibrationProgress& progress);

}  // namespace bitsweep
