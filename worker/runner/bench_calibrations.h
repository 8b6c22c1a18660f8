// What calibrating methods make of the model of a bench. Speed does not depend on what a
// calibration decides, so a short one serves: of the bench's prompt, or of seeded ids.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "worker/runner/calibrated_model.h"

namespace bitsweep {

class BenchCalibrations {
 public:
    // `model` outlives this.
    explicit BenchCalibrations(const ModelFiles& model) : model_(model) {}

    struct Seen {
        const ModelFiles* files;  // the model as the method packs it
        std::int64_t tokens = 0;  // of its calibration; 0: it needs none
    };
    // Made once a method. Random weights are calibrated only where a method has no codes without
    // (static scales of inputs). Errors as calibrate().
    Result<Seen> model_for(const MethodId& method, int threads, const Progress& progress);

 private:
    const ModelFiles& model_;
    std::map<std::string, std::unique_ptr<CalibratedModel>> made_;
};

// Real text where there is a tokenizer, since outliers depend on what is read; else seeded ids.
std::vector<std::int32_t> bench_ids(const ModelFiles& files, std::int64_t tokens);

}  // namespace bitsweep
