// CUDA objects of the ceilings, owned: each frees itself. Errors are values.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "schemas/status.h"

namespace bitsweep::ceilings {

// The class of a CUDA error: out_of_gpu_memory, unsupported (no driver, no card, no kernel for it)
// or gpu_fault. Clears the error where it is not sticky.
Status checked(cudaError_t error, const char* what);

struct FreeDevice {
    void operator()(void* block) const { cudaFree(block); }
};
using DeviceBlock = std::unique_ptr<void, FreeDevice>;
Result<DeviceBlock> device_block(std::uint64_t bytes);

// A stream and two events on one device, made current for the calling thread until destruction.
class Stopwatch {
 public:
    static Result<std::unique_ptr<Stopwatch>> on(int ordinal);
    ~Stopwatch();
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

    cudaStream_t stream() const { return stream_; }
    Status begin();
    // Waits for what was queued since begin(); device time in ns.
    Result<double> end();

 private:
    Stopwatch() = default;
    int before_ = 0;  // device that was current
    cudaStream_t stream_ = nullptr;
    cudaEvent_t from_ = nullptr, to_ = nullptr;
};

// Device time of what `queue` queues, in ns.
template <class Queue>
Result<double> device_ns(Stopwatch& watch, const Queue& queue) {
    TRY(watch.begin());
    TRY(queue());
    return watch.end();
}

}  // namespace bitsweep::ceilings
