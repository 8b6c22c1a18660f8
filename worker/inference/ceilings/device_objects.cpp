#include "worker/inference/ceilings/device_objects.h"

namespace bitsweep::ceilings {

Status checked(cudaError_t error, const char* what) {
    if (error == cudaSuccess) {
        return {};
    }
    cudaGetLastError();
    ErrorCode code = ErrorCode::gpu_fault;
    if (error == cudaErrorMemoryAllocation) {
        code = ErrorCode::out_of_gpu_memory;
    } else if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver ||
               error == cudaErrorInvalidDevice || error == cudaErrorNoKernelImageForDevice) {
        code = ErrorCode::unsupported;
    }
    return make_error(code, std::string(what) + ": " + cudaGetErrorString(error));
}

Result<DeviceBlock> device_block(std::uint64_t bytes) {
    void* block = nullptr;
    TRY(checked(cudaMalloc(&block, bytes), "memory for measuring the card's ceilings"));
    return DeviceBlock(block);
}

Result<std::unique_ptr<Stopwatch>> Stopwatch::on(int ordinal) {
    std::unique_ptr<Stopwatch> watch(new Stopwatch);
    TRY(checked(cudaGetDevice(&watch->before_), "the current device"));
    TRY(checked(cudaSetDevice(ordinal), "choosing the device"));
    TRY(checked(cudaStreamCreateWithFlags(&watch->stream_, cudaStreamNonBlocking), "a stream"));
    TRY(checked(cudaEventCreate(&watch->from_), "an event"));
    TRY(checked(cudaEventCreate(&watch->to_), "an event"));
    return watch;
}

Stopwatch::~Stopwatch() {
    if (from_ != nullptr) {
        cudaEventDestroy(from_);
    }
    if (to_ != nullptr) {
        cudaEventDestroy(to_);
    }
    if (stream_ != nullptr) {
        cudaStreamDestroy(stream_);
    }
    cudaSetDevice(before_);
}

Status Stopwatch::begin() {
    return checked(cudaEventRecord(from_, stream_), "an event");
}

Result<double> Stopwatch::end() {
    TRY(checked(cudaEventRecord(to_, stream_), "an event"));
    TRY(checked(cudaEventSynchronize(to_), "waiting for the device"));
    float ms = 0;
    TRY(checked(cudaEventElapsedTime(&ms, from_, to_), "the time between two events"));
    return static_cast<double>(ms) * 1e6;
}

}  // namespace bitsweep::ceilings
