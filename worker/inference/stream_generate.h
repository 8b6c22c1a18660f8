// Greedy sequences of one engine on a card: prefill by the engine, tokens by the streaming kernel.
#pragma once

#include "worker/inference/decode/stream_decoder.h"
#include "worker/inference/generate.h"

namespace bitsweep {

// As SequenceGenerator::generate. `decoder` works on the cache that engine.forward fills. The
// engine must be reset before its next forward: it does not know of the tokens that were added.
// batch 1.
Result<Sequence> generate_streaming(Engine& engine, decode::StreamDecoder& decoder,
                                    const SequencePlan& plan, const TokenSink& sink);

}  // namespace bitsweep
