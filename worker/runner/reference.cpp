#include "worker/runner/reference.h"

#include <algorithm>
#include <utility>

#include "schemas/catalog/methods.h"

namespace bitsweep {
namespace {

std::string key_of(const SequencePlan& plan) {
    std::string key = std::to_string(plan.new_tokens) + "|" + std::to_string(plan.stop_id);
    for (const std::int32_t id : plan.prompt) {
        key += "," + std::to_string(id);
    }
    return key;
}

std::string key_of(const ScoredWindows& windows) {
    return windows.text_digest + "|" + std::to_string(windows.window) + "|" +
           std::to_string(windows.count);
}

}  // namespace

Status Reference::load_engine_for(const ModelFiles& files, std::int64_t context, int threads,
                                  const Progress& progress) {
    if (engine_ && engine_context_ >= context) {
        return {};
    }
    if (progress) {
        progress("loading the fp32 reference");
    }
    engine_.reset();
    EngineOptions options;
    options.method = TRY(parse_method("fp32"));
    options.threads = threads;
    options.context = context;
    engine_ = TRY(load_engine(files, options, nullptr));
    engine_context_ = context;
    return {};
}

Result<std::vector<std::int32_t>> Reference::greedy(const ModelFiles& files,
                                                    const SequencePlan& plan, int threads,
                                                    const Progress& progress) {
    const std::string key = key_of(plan);
    if (const auto known = greedy_.find(key); known != greedy_.end()) {
        return known->second;
    }
    const auto context = static_cast<std::int64_t>(plan.prompt.size()) + plan.new_tokens;
    TRY(load_engine_for(files, context, threads, progress));
    SequencePlan alone = plan;
    alone.batch = 1;
    Sequence sequence = TRY(run_sequence(*engine_, alone, progress));
    return greedy_.emplace(key, std::move(sequence.new_ids)).first->second;
}

Status Reference::compute(std::span<const std::int32_t> ids, std::int64_t vocabulary, float* to) {
    const auto scored = static_cast<std::int64_t>(ids.size()) - 1;
    return engine_->score(
        ids,
        [&](std::int64_t first, std::int64_t count, const float* logits) -> Status {
            const std::int64_t useful = std::min(count, scored - first);
            if (useful > 0) {
                std::copy_n(logits, useful * vocabulary, to + first * vocabulary);
            }
            return {};
        },
        nullptr);
}

Status Reference::prepare(const ModelFiles& files, const ScoredWindows& windows, int threads,
                          const Progress& progress) {
    const std::string key = key_of(windows);
    if (kept_all_ && key == kept_key_) {
        return {};
    }
    vocabulary_ = files.config.vocabulary;
    kept_all_ = false;
    kept_key_ = key;
    kept_ = {};
    TRY(load_engine_for(files, 1, threads, progress));  // a window brings its own cache
    const auto row_floats = static_cast<std::uint64_t>((windows.window - 1) * vocabulary_);
    const auto all_floats = row_floats * static_cast<std::uint64_t>(windows.count);
    if (all_floats * sizeof(float) > most_bytes_) {
        kept_.resize(row_floats);
        return {};
    }
    kept_.resize(all_floats);
    for (std::int64_t w = 0; w < windows.count; ++w) {
        if (progress) {
            progress("fp32 window " + std::to_string(w + 1));
        }
        TRY(compute(windows.at(w), vocabulary_,
                    kept_.data() + static_cast<std::uint64_t>(w) * row_floats));
    }
    kept_all_ = true;
    return {};
}

Result<const float*> Reference::rows(const ScoredWindows& windows, std::int64_t index) {
    ASSERT(key_of(windows) == kept_key_ && index >= 0 && index < windows.count);
    if (kept_all_) {
        return kept_.data() + index * (windows.window - 1) * vocabulary_;
    }
    ASSERT(engine_ != nullptr);
    TRY(compute(windows.at(index), vocabulary_, kept_.data()));
    return kept_.data();
}

void Reference::release_engine() {
    engine_.reset();
    engine_context_ = 0;
}

}  // namespace bitsweep
