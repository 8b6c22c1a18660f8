// Decoders as the program builder sees them: addresses that nobody follows.
#pragma once

#include "worker/inference/decode/program_builder.h"

namespace bitsweep::decode::test {

// Llama: RMS norms, rotary positions, gated MLP, 8 heads over 4 for keys and values.
ProgramParts llama_parts(Codes kind = Codes::f16);
// GPT-2: layer norms, biases, learned positions.
ProgramParts gpt2_parts(Codes kind = Codes::f16);

}  // namespace bitsweep::decode::test
