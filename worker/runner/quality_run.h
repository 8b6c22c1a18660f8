// Scores a loaded engine on a text against the fp32 reference.
#pragma once

#include <cstdint>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/metrics/quality.h"
#include "worker/runner/reference.h"
#include "worker/runner/text_tokens.h"

namespace bitsweep {

// Full windows only, each scored on its positions 2..n; a text shorter than one window is one
// shorter window. invalid_input: fewer than two tokens.
Result<ScoredWindows> scored_windows(const TextTokens& text, std::int64_t window,
                                     std::int64_t positions, std::string text_digest);

struct QualityRun {
    QualityScores scores;
    std::vector<LayerOutliers> outliers;  // of all windows, where asked for
};

enum class Outliers { ignore, record };

// `reference` was prepared for these windows.
Result<QualityRun> score_quality(Engine& engine, Reference& reference, const TextTokens& text,
                                 const ScoredWindows& windows, std::int64_t vocabulary,
                                 Outliers outliers, const Progress& progress);

}  // namespace bitsweep
