#include "worker/runner/calibrated_model.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "schemas/content.h"

namespace bitsweep {
namespace {

// `model` through made.calibration.
Status see_through(const ModelFiles& model, const MethodId& method, CalibratedModel& made) {
    made.files.config = model.config;
    made.files.weights = TRY(CalibratedWeights::create(*model.weights, made.calibration));
    made.files.path = model.path;
    made.files.format = model.format;
    made.files.calibrated_for = method.text;
    return {};
}

}  // namespace

std::string calibration_key(const CalibrationIdentity& identity,
                            const CalibrationOptions& options) {
    const CalibrationSpec& slice = identity.slice;
    char alpha[32];
    std::snprintf(alpha, sizeof alpha, "%.17g", options.alpha);
    std::string words = "calibration " + std::to_string(calibration_revision);
    for (const std::string& word :
         {identity.weights_digest, options.method.text, std::string(alpha), identity.text_digest,
          std::to_string(slice.offset), std::to_string(slice.tokens), std::to_string(slice.window),
          std::to_string(slice.seed)}) {
        words += "\n" + word;
    }
    return sha256_hex(words);
}

Result<std::vector<std::int32_t>> slice_of(const std::vector<std::int32_t>& text,
                                           const CalibrationSpec& slice) {
    const auto size = static_cast<std::int64_t>(text.size());
    if (slice.offset + slice.tokens > size) {
        return make_error(ErrorCode::invalid_input,
                          "calibration asks for tokens " + std::to_string(slice.offset) + " to " +
                              std::to_string(slice.offset + slice.tokens) + " of " + slice.text +
                              ", which has " + std::to_string(size) +
                              ": lower its offset or tokens");
    }
    const auto from = text.begin() + slice.offset;
    if (slice.seed == 0) {
        return std::vector<std::int32_t>(from, from + slice.tokens);
    }
    const std::int64_t windows = (size - slice.offset) / slice.window;
    std::vector<std::int64_t> order;
    for (std::int64_t w = 0; w < windows; ++w) {
        order.push_back(w);
    }
    // Not std::shuffle: its draws are the library's affair.
    std::mt19937_64 generator(slice.seed);
    for (std::size_t left = order.size(); left > 1; --left) {
        std::swap(order[left - 1], order[generator() % left]);
    }
    std::vector<std::int32_t> ids;
    for (const std::int64_t w : order) {
        if (static_cast<std::int64_t>(ids.size()) + slice.window > slice.tokens) {
            break;
        }
        ids.insert(ids.end(), from + w * slice.window, from + (w + 1) * slice.window);
    }
    return ids;
}

Result<std::unique_ptr<CalibratedModel>> calibrated_model(
    const ModelFiles& model, const CalibrationIdentity& identity, const CalibrationOptions& options,
    const CalibrationStore& store, const CalibrationIds& ids, const Progress& progress) {
    auto made = std::make_unique<CalibratedModel>();
    const std::string key = calibration_key(identity, options);
    Result<Calibration> kept = store.read(key);
    // What was kept may have been damaged: it is then made again.
    auto view = kept ? CalibratedWeights::create(*model.weights, *kept)
                     : Result<std::unique_ptr<CalibratedWeights>>(kept.error());
    if (view) {
        made->calibration = std::move(*kept);
        made->was_kept = true;
    } else {
        made->calibration = TRY(calibrate(model, options, TRY(ids()), progress));
        const Status written = store.write(key, made->calibration);
        if (!written && progress) {
            progress("this calibration is not kept: " + written.error().message);
        }
    }
    TRY(see_through(model, options.method, *made));
    return made;
}

Result<std::unique_ptr<CalibratedModel>> calibrated_once(const ModelFiles& model,
                                                         const CalibrationOptions& options,
                                                         std::span<const std::int32_t> ids,
                                                         const Progress& progress) {
    auto made = std::make_unique<CalibratedModel>();
    made->calibration = TRY(calibrate(model, options, ids, progress));
    TRY(see_through(model, options.method, *made));
    return made;
}

}  // namespace bitsweep
