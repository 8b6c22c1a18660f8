// What the host does for one decode step on a CUDA device, counted exactly: kernels of libraries
// too, which no counter at our own launches would see.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

#include "schemas/status.h"
#include "worker/inference/backend/cuda/cuda_backend.h"
#include "worker/inference/trace.h"

namespace bitsweep {

// Ends the capture of `stream` and returns how many operations (kernels, copies, clears) it holds;
// `run` then holds them ready to be launched.
struct CapturedWork {
    cudaGraphExec_t run = nullptr;
    std::int64_t operations = 0;
};
Result<CapturedWork> end_capture(cudaStream_t stream);

// Runs `queue` once. What it queues is captured, counted and launched as a graph, a piece between
// each two waits of the host, so that a step which waits (llmint8-bnb) does its work as always. An
// error leaves no capture open; the step may be run again, since it starts from ids and position.
Result<HostWork> count_host_work(CudaBackend& backend, const std::function<Status()>& queue);

}  // namespace bitsweep
