// What each linear layer costs and loses alone: the two tables that a policy is chosen from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/model_files.h"
#include "worker/inference/trace.h"
#include "worker/runner/quality_run.h"
#include "worker/runner/reference.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

struct ProbeText {
    Reference& reference;  // prepared for `windows`
    const TextTokens& text;
    const ScoredWindows& windows;
    std::span<const std::int32_t> prompt;  // decoded from, for the times
};

// Every linear layer but the head, in the order of the model. `kl`: that layer as `options` stores
// it and all others in fp32, against fp32, less what 16-bit head and KV cache alone lose (about
// 1e-7), never below 0. `ns`: the median inside decode steps of the whole model as `options` stores
// it, so that caches are as in use; on a card between two events of the replayed graph, which cost
// every layer the same. Loads the model once for each layer.
// Errors as load_engine and the engine report them.
Result<std::vector<LayerProbe>> probe_layers(const ModelFiles& files, const EngineOptions& options,
                                             const ProbeText& text, const Progress& progress);

}  // namespace bitsweep
