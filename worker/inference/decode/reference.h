// The specification of stream_kernel: the same program, one plain kernel a stage, no tricks.
#pragma once

#include <cuda_runtime_api.h>

#include "worker/inference/decode/program.h"

namespace bitsweep::decode {

// As launch_stream, with `stages` on the host as well. Much slower; for tests.
cudaError_t run_reference(const Program& program, const Stage* host_stages, const float* code_book,
                          int tokens, cudaStream_t stream);

}  // namespace bitsweep::decode
