// Calibrations kept on disk by content: a model, a method, a slice of text and a revision make one
// file, so that the cells of one method on one model calibrate once.
#pragma once

#include <filesystem>
#include <string>

#include "schemas/status.h"
#include "worker/inference/calibration/calibrated_weights.h"

namespace bitsweep {

class CalibrationStore {
 public:
    // Empty: $XDG_CACHE_HOME/bitsweep/calibrations, or ~/.cache/bitsweep/calibrations.
    explicit CalibrationStore(std::filesystem::path folder = {});

    // not_found; corrupt where the file is no calibration (it is then made again).
    Result<Calibration> read(const std::string& key) const;
    Status write(const std::string& key, const Calibration& calibration) const;

 private:
    std::filesystem::path file_of(const std::string& key) const;

    std::filesystem::path folder_;
};

}  // namespace bitsweep
