// The tokenizer that a GGUF file carries in its metadata.
#pragma once

#include <memory>

#include "schemas/status.h"
#include "worker/inference/gguf_reader.h"
#include "worker/inference/tokenizer.h"

namespace bitsweep {

// not_found: the file carries none. unsupported: a model other than "gpt2" (byte-level BPE), a
// pre-tokenizer other than gpt-2, default, llama-bpe, qwen2 and smollm. corrupt as bpe.h says.
Result<std::unique_ptr<Tokenizer>> tokenizer_from_gguf(const GgufFile& file);

}  // namespace bitsweep
