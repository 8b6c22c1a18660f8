// A model as a calibrating method sees it: made from its text, or found where it was kept.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "schemas/job.h"
#include "worker/inference/calibration/calibrate.h"
#include "worker/inference/model_files.h"
#include "worker/runner/calibration_store.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

// `files` reads its weights through the calibration of the model below, which outlives it; it has
// no tokenizer.
struct CalibratedModel {
    Calibration calibration;
    ModelFiles files;
    bool was_kept = false;  // the time and memory of the calibration are of the run that made it
};

// What names a calibration: SHA-256 of model, method, text, slice and revision.
struct CalibrationIdentity {
    std::string weights_digest;
    std::string text_digest;
    CalibrationSpec slice;
};
std::string calibration_key(const CalibrationIdentity& identity, const CalibrationOptions& options);

// `ids` is asked only where nothing is kept. A store that cannot be written is no error: progress
// says so. Errors as calibrate() and `ids` report them.
using CalibrationIds = std::function<Result<std::vector<std::int32_t>>()>;
Result<std::unique_ptr<CalibratedModel>> calibrated_model(
    const ModelFiles& model, const CalibrationIdentity& identity, const CalibrationOptions& options,
    const CalibrationStore& store, const CalibrationIds& ids, const Progress& progress);

// Made from `ids`, and kept nowhere. Errors as calibrate().
Result<std::unique_ptr<CalibratedModel>> calibrated_once(const ModelFiles& model,
                                                         const CalibrationOptions& options,
                                                         std::span<const std::int32_t> ids,
                                                         const Progress& progress);

// The ids of a slice out of a whole text: seed 0 takes the tokens from slice.offset on, another
// seed draws windows behind the offset, none twice. invalid_input: the text is too short.
Result<std::vector<std::int32_t>> slice_of(const std::vector<std::int32_t>& text,
                                           const CalibrationSpec& slice);

}  // namespace bitsweep
