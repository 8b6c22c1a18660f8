// A JobSpec checked and resolved against an opened model: everything that can be refused before
// any weight is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "schemas/catalog/layer_methods.h"
#include "schemas/catalog/methods.h"
#include "schemas/job.h"
#include "schemas/status.h"
#include "worker/runner/devices.h"
#include "worker/runner/model_session.h"
#include "worker/runner/sequence.h"

namespace bitsweep {

// SmoothQuant's for OPT, where a job names none.
inline constexpr double default_alpha = 0.5;

struct JobPlan {
    Device device;
    MethodId method;
    double threshold = 0;  // 0 where the method reads none
    bool reads_threshold = false;
    std::optional<CalibrationSpec> calibration;  // where the method calibrates on this model
    double alpha = default_alpha;
    LayerMethods layers;  // of method mixed
    int threads = 1;
    SequencePlan sequence;
    bool compare_text = false;         // greedy text against fp32's
    bool score_text = false;           // perplexity, KL divergence ...
    bool probe_layers = false;         // and of every linear layer alone
    std::string quality_note;          // why quality was asked for and is not measured; else empty
    std::string dataset_digest;        // of the text that is read, if any
    const TextTokens* text = nullptr;  // owned by the session, when score_text

    std::int64_t context() const {
        return static_cast<std::int64_t>(sequence.prompt.size()) + sequence.new_tokens;
    }
};

// Threshold of bitsandbytes where a job of a method that reads one names none.
inline constexpr double default_threshold = 6.0;

// Checks that need no file: method on this device, threshold, bits of head and KV cache, counts.
// invalid_input or unsupported, naming the field and what is allowed.
Status check_spec(const JobSpec& spec, const Device& device);

// The rest, for a checked spec: prompt ids, context, text. invalid_input, not_found.
Result<JobPlan> plan_job(const JobSpec& spec, const Device& device, OpenedModel& model,
                         ModelSession& session);

}  // namespace bitsweep
