// What one process keeps of the model it serves between jobs: opened files, digests, tokenised
// text, the fp32 reference.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "schemas/job.h"
#include "schemas/status.h"
#include "worker/inference/model_files.h"
#include "worker/runner/digests.h"
#include "worker/runner/reference.h"
#include "worker/runner/text_tokens.h"

namespace bitsweep {

struct RunnerOptions {
    std::string device = "cpu";
    std::vector<std::filesystem::path> model_dirs;  // searched before the default ones
    std::vector<std::filesystem::path> data_dirs;
    std::filesystem::path calibration_dir;       // calibration_store.h; empty: the user's cache
    std::uint64_t reference_bytes = 1ULL << 30;  // most fp32 logits kept between jobs
};

struct OpenedModel {
    ModelFiles files;
    std::string digest;
    Reference reference;
};

class ModelSession {
 public:
    explicit ModelSession(RunnerOptions options);

    const RunnerOptions& options() const { return options_; }

    // The model of a job, opened once while its files stay the same; another model replaces it.
    // not_found lists where it was searched and the nearest name.
    Result<OpenedModel*> model(const ModelRef& ref);

    struct Text {
        std::string digest;
        TextTokens tokens;
    };
    // The first `tokens` ids of a data set in the present model's tokenizer.
    Result<const Text*> text(const std::string& name, std::int64_t tokens);

    // The ids of a calibration's slice; the text in use stays.
    Result<std::vector<std::int32_t>> calibration_ids(const CalibrationSpec& slice);
    // The digest of a data set.
    Result<std::string> text_digest(const std::string& name);

 private:
    RunnerOptions options_;
    Digests digests_;
    std::string model_key_;
    std::unique_ptr<OpenedModel> model_;
    std::string text_key_;
    Text text_;
};

// Where a model is: an existing path as it stands, else a name under `dirs` and the default ones.
Result<std::filesystem::path> locate_model(const std::string& path_or_name,
                                           const std::vector<std::filesystem::path>& dirs);

}  // namespace bitsweep
