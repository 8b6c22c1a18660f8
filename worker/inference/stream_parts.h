// From a decoder on a card to what the streaming kernel's program is built from.
#pragma once

#include <cstdint>
#include <memory>

#include "schemas/status.h"
#include "worker/inference/backend/cuda/cuda_backend.h"
#include "worker/inference/config.h"
#include "worker/inference/decode/program_builder.h"
#include "worker/inference/kv_cache.h"
#include "worker/inference/models/decoder.h"

namespace bitsweep {

struct StreamParts {
    decode::ProgramParts program;
    const float* code_book = nullptr;   // of the layers with 4-bit code books
    std::unique_ptr<Buffer> positions;  // learned positions as float32 rows; null: none
};

// Every matrix of `decoder` is a DeviceLinear; `kv` lies on the card, its first sequence is used.
// unsupported: this decoder has parts that the kernel does not know, named; what the kernel cannot
// do with the parts is check_parts' to say. Addresses stay those of decoder and kv.
Result<StreamParts> stream_parts(const Decoder& decoder, const ModelConfig& config,
                                 const KvCache& kv, CudaBackend& backend);

}  // namespace bitsweep
