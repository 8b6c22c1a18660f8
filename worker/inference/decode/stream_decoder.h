// Greedy decoding on a device by the streaming kernel: one launch for a run of tokens, the host
// asks nothing between them.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/decode/program_builder.h"

namespace bitsweep::decode {

struct StreamPlace {
    int ordinal = 0;                // of the device, which is current for the calling thread
    cudaStream_t stream = nullptr;  // what fills the cache is queued here, too
};

// Tokens that one launch chose, and what two clocks say about them.
struct StreamRun {
    std::vector<std::int32_t> tokens;
    std::vector<std::int64_t> token_ns;  // the device's clock; they add up to its time for the run
    std::int64_t host_ns = 0;            // from before the launch until the tokens are on the host
};

class StreamDecoder {
 public:
    // `code_book`: 16 floats on the device where a matrix has lut4 codes, else null. The parts'
    // memory outlives the decoder. unsupported: decoder or device, with the reason; else as
    // backend.allocate reports it. Its own buffers are counted as activations.
    static Result<std::unique_ptr<StreamDecoder>> create(Backend& backend,
                                                         const ProgramParts& parts,
                                                         const float* code_book, StreamPlace place);
    ~StreamDecoder();
    StreamDecoder(const StreamDecoder&) = delete;
    StreamDecoder& operator=(const StreamDecoder&) = delete;

    // The `count` tokens after `token`, which stands at `position`; the cache holds every earlier
    // position. invalid_input: beyond the cache; invalid_numbers: logits that are not finite;
    // unsupported: the device does not keep the whole grid resident; gpu_fault.
    Result<StreamRun> run(std::int32_t token, std::int64_t position, std::int64_t count);

    // Logits [vocabulary] of the last position of the last run.
    Status last_logits(float* to);

 private:
    StreamDecoder(Backend& backend, const float* code_book, StreamPlace place);
    Status prepare(const ProgramParts& parts);
    Status launch(std::int32_t token, std::int64_t position, std::int64_t count);
    Status check_finite(std::int64_t position);
    Status collect(std::int64_t position, std::int64_t count, StreamRun& to);

    Backend& backend_;
    const float* code_book_;
    StreamPlace place_;
    std::int64_t context_ = 0;
    ProgramLayout layout_;
    Program program_;
    std::unique_ptr<Buffer> block_;
    cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace bitsweep::decode
