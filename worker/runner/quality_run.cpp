#include "worker/runner/quality_run.h"

#include <algorithm>
#include <string>
#include <utility>

#include "worker/metrics/outliers.h"

namespace bitsweep {

Result<ScoredWindows> scored_windows(const TextTokens& text, std::int64_t window,
                                     std::int64_t positions, std::string text_digest) {
    const auto tokens = static_cast<std::int64_t>(text.ids.size());
    const std::int64_t length = std::min({window, positions, tokens});
    if (tokens < 2) {
        return make_error(
            ErrorCode::invalid_input,
            "quality needs a text of at least 2 tokens; this one has " + std::to_string(tokens));
    }
    if (length < 2) {
        return make_error(ErrorCode::invalid_input,
                          "quality needs windows of at least 2 tokens; this one has " +
                              std::to_string(std::max<std::int64_t>(length, 0)) +
                              ": make the window longer");
    }
    return ScoredWindows{text.ids, length, tokens / length, std::move(text_digest)};
}

Result<QualityRun> score_quality(Engine& engine, Reference& reference, const TextTokens& text,
                                 const ScoredWindows& windows, std::int64_t vocabulary,
                                 Outliers outliers, const Progress& progress) {
    QualityRun run;
    for (std::int64_t w = 0; w < windows.count; ++w) {
        if (progress) {
            progress("window " + std::to_string(w + 1) + " of " + std::to_string(windows.count));
        }
        const auto ids = windows.at(w);
        const float* fp32 = TRY(reference.rows(windows, w));
        const LogitsSink sink = [&](std::int64_t first, std::int64_t count,
                                    const float* logits) -> Status {
            // The last position of a window has no target in it.
            const std::int64_t useful = std::min(count, windows.window - 1 - first);
            if (useful <= 0) {
                return {};
            }
            const auto targets =
                ids.subspan(static_cast<std::size_t>(first + 1), static_cast<std::size_t>(useful));
            return run.scores.add(fp32 + first * vocabulary, logits, vocabulary, targets);
        };
        std::vector<LayerOutliers> layers;
        TRY(engine.score(ids, sink, outliers == Outliers::record ? &layers : nullptr));
        merge_outliers(run.outliers, layers);
    }
    if (!text.bytes.empty()) {
        for (std::int64_t i = 0; i < windows.count * windows.window; ++i) {
            run.scores.text_bytes +=
                i % windows.window == 0 ? 0 : text.bytes[static_cast<std::size_t>(i)];
        }
    }
    return run;
}

}  // namespace bitsweep
