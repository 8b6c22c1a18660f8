#include "worker/runner/bench_calibrations.h"

#include <random>

#include "worker/inference/quant/smoothquant/smoothquant.h"

namespace bitsweep {
namespace {

constexpr std::int64_t calibration_tokens = 32;
constexpr const char* prose =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the "
    "season of Light, it was the season of Darkness, it was the spring of hope. ";

bool needs_calibration(const ModelFiles& model, const MethodId& method) {
    const bool fixed_inputs = method.family == MethodFamily::smoothquant &&
                              quant::input_scope(method) == quant::InputScope::fixed;
    return method_row(method).calibrates && (model.format != "random" || fixed_inputs);
}

}  // namespace

std::vector<std::int32_t> bench_ids(const ModelFiles& files, std::int64_t tokens) {
    std::vector<std::int32_t> ids;
    if (files.tokenizer) {
        ids = files.tokenizer->encode(prose);
    } else {
        std::mt19937_64 generator(0);
        for (std::int64_t i = 0; i < tokens; ++i) {
            ids.push_back(static_cast<std::int32_t>(
                generator() % static_cast<std::uint64_t>(files.config.vocabulary)));
        }
    }
    const std::size_t unit = ids.size();
    for (std::size_t i = unit; static_cast<std::int64_t>(i) < tokens; ++i) {
        ids.push_back(ids[i - unit]);
    }
    ids.resize(static_cast<std::size_t>(tokens));
    return ids;
}

Result<BenchCalibrations::Seen> BenchCalibrations::model_for(const MethodId& method, int threads,
                                                             const Progress& progress) {
    if (!needs_calibration(model_, method)) {
        return Seen{&model_, 0};
    }
    auto& made = made_[method.text];
    if (made == nullptr) {
        const CalibrationOptions options{
            .method = method, .window = calibration_tokens, .threads = threads};
        made =
            TRY(calibrated_once(model_, options, bench_ids(model_, calibration_tokens), progress));
    }
    return Seen{&made->files, calibration_tokens};
}

}  // namespace bitsweep
