// Runs a decode program: `tokens` tokens in one launch, the next token chosen on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "worker/inference/decode/program.h"

namespace bitsweep::decode {

inline constexpr int stream_threads = 512;  // a block; one block per multiprocessor
inline constexpr int stream_chunks = 2;     // 16-byte chunks a thread takes at a step
inline constexpr int stream_depth = 4;      // steps in flight

// code_book: 16 floats on the device when a stage uses lut4, else null. Starts from *program.token
// at *program.position and leaves both at the next ones. Errors of the launch only.
cudaError_t launch_stream(const Program& program, const float* code_book, int tokens,
                          cudaStream_t stream);

}  // namespace bitsweep::decode
