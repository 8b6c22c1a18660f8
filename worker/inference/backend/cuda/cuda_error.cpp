#include "worker/inference/backend/cuda/cuda_error.h"

namespace bitsweep {
namespace {

std::string architecture() {
    int device = 0, major = 0, minor = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
        return "this device";
    }
    return "sm_" + std::to_string(major * 10 + minor);
}

}  // namespace

Status cuda_status(cudaError_t error, const std::string& what) {
    if (error == cudaSuccess) {
        return {};
    }
    cudaGetLastError();
    const std::string words = what + ": " + cudaGetErrorString(error);
    switch (error) {
        case cudaErrorMemoryAllocation:
            return make_error(ErrorCode::out_of_gpu_memory, words);
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidDeviceFunction:
            return make_error(ErrorCode::unsupported,
                              words + "; this build has no code for " + architecture() +
                                  ", build it with CMAKE_CUDA_ARCHITECTURES naming it");
        case cudaErrorNoDevice:
        case cudaErrorInvalidDevice:
        case cudaErrorInsufficientDriver:
            return make_error(ErrorCode::unsupported, words);
        default:
            return make_error(ErrorCode::gpu_fault, words);
    }
}

}  // namespace bitsweep
