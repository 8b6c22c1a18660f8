#include "worker/runner/model_session.h"

#include <utility>

#include "schemas/content.h"
#include "worker/runner/calibrated_model.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t whole_text = 1'000'000'000;  // tokens: more than any text has

std::vector<fs::path> with_defaults(std::vector<fs::path> dirs, std::vector<fs::path> defaults) {
    dirs.insert(dirs.end(), defaults.begin(), defaults.end());
    return dirs;
}

}  // namespace

Result<fs::path> locate_model(const std::string& path_or_name, const std::vector<fs::path>& dirs) {
    std::error_code failed;
    if (fs::exists(path_or_name, failed)) {
        return fs::path(path_or_name);
    }
    if (path_or_name.find('/') != std::string::npos) {
        return make_error(ErrorCode::not_found,
                          path_or_name +
                              ": no such folder or file; give a model folder with "
                              "config.json, a .gguf file, or a model name");
    }
    return TRY(find_model(path_or_name, with_defaults(dirs, default_model_dirs())));
}

ModelSession::ModelSession(RunnerOptions options) : options_(std::move(options)) {}

Result<OpenedModel*> ModelSession::model(const ModelRef& ref) {
    const bool random = ref.weights == WeightsSource::random;
    const RandomWeightsOptions weights{.seed = ref.weights_seed};
    fs::path path;
    std::string digest;
    if (random) {
        digest = random_weights_digest(ref.name, weights);
    } else {
        std::error_code failed;
        const bool seen = !ref.path.empty() && fs::exists(ref.path, failed);
        path = seen ? fs::path(ref.path) : TRY(locate_model(ref.name, options_.model_dirs));
        digest = TRY(digests_.of_model(path));
    }
    const std::string key = path.string() + "|" + digest;
    if (model_ && key == model_key_) {
        return model_.get();
    }
    model_.reset();
    text_key_.clear();
    ModelFiles files = random ? TRY(open_random_model(ref.name, weights)) : TRY(open_model(path));
    model_ = std::make_unique<OpenedModel>(
        OpenedModel{std::move(files), std::move(digest), Reference(options_.reference_bytes)});
    model_key_ = key;
    return model_.get();
}

Result<const ModelSession::Text*> ModelSession::text(const std::string& name, std::int64_t tokens) {
    ASSERT(model_ != nullptr);
    if (!model_->files.tokenizer) {
        return make_error(ErrorCode::unsupported,
                          "random weights have no tokenizer, so no text can be read with them");
    }
    const fs::path file =
        TRY(find_text(name, with_defaults(options_.data_dirs, default_data_dirs())));
    std::string digest = TRY(digests_.of_file(file));
    const std::string key = digest + "|" + std::to_string(tokens);
    if (key != text_key_) {
        text_.tokens = TRY(first_tokens(*model_->files.tokenizer, file, tokens));
        text_.digest = std::move(digest);
        text_key_ = key;
    }
    return &text_;
}

Result<std::vector<std::int32_t>> ModelSession::calibration_ids(const CalibrationSpec& slice) {
    ASSERT(model_ != nullptr && model_->files.tokenizer != nullptr);
    const fs::path file =
        TRY(find_text(slice.text, with_defaults(options_.data_dirs, default_data_dirs())));
    // A seed draws from the whole text.
    const std::int64_t tokens = slice.seed == 0 ? slice.offset + slice.tokens : whole_text;
    return slice_of(TRY(first_tokens(*model_->files.tokenizer, file, tokens)).ids, slice);
}

Result<std::string> ModelSession::text_digest(const std::string& name) {
    return digests_.of_file(
        TRY(find_text(name, with_defaults(options_.data_dirs, default_data_dirs()))));
}

}  // namespace bitsweep
