// CUDA's errors as values.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "schemas/status.h"

namespace bitsweep {

// ok, or: out_of_gpu_memory; unsupported (no driver, no such device, no kernel of this build for
// the device's architecture, which is named); gpu_fault for the rest, sticky ones above all. Clears
// the error where CUDA lets it be cleared. `what` says what was being done.
Status cuda_status(cudaError_t error, const std::string& what);

}  // namespace bitsweep
