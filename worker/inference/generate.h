// One greedy sequence: a timed prefill, then tokens, each the argmax of its logits. The one way in
// which speed is measured, whatever device does it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/trace.h"

namespace bitsweep {

struct SequencePlan {
    std::vector<std::int32_t> prompt;  // the same for every sequence of the batch
    std::int64_t batch = 1;
    std::int64_t new_tokens = 1;  // exactly this many, unless stop_id appears
    std::int32_t stop_id = -1;    // -1: never stop early
    std::int64_t vocabulary = 0;
};

struct Sequence {
    SequenceTrace trace;
    std::vector<std::int32_t> new_ids;  // of the first sequence of the batch
};

// Told how many tokens are chosen, as often as the host sees them; may be empty.
using TokenSink = std::function<void(std::int64_t chosen)>;

// An engine that chooses tokens on its own device, without the host between them.
class SequenceGenerator {
 public:
    virtual ~SequenceGenerator() = default;

    // As generate_sequence. new_ids and trace.token_ns hold what the host would have chosen and
    // how the trace's clocks are defined (trace.h).
    virtual Result<Sequence> generate(const SequencePlan& plan, const TokenSink& sink) = 0;
};

// Forgets what the engine holds, then prefill and greedy decoding: by the engine itself where it
// is a SequenceGenerator, else one forward and one argmax a token. Errors are the engine's
// (invalid_numbers for logits that are not finite).
Result<Sequence> generate_sequence(Engine& engine, const SequencePlan& plan, const TokenSink& sink);

// The second way, for any engine.
Result<Sequence> generate_by_forward(Engine& engine, const SequencePlan& plan,
                                     const TokenSink& sink);

}  // namespace bitsweep
