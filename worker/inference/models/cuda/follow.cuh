// Kernels that may be placed on the card before the one ahead of them is done.
#pragma once

#include <cuda_runtime.h>

#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::device {

// Before the first read of what earlier kernels wrote, and the first write: waits until they are
// done. Every kernel that launch_behind() queues calls it; elsewhere it does nothing.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Queues `kernel`. Follow::early is for kernels whose code can wait: compiled for 9.0 or later.
template <auto kernel, class... Arguments>
cudaError_t launch_behind(Follow follow, dim3 grid, unsigned block, cudaStream_t stream,
                          Arguments... arguments) {
    static const bool can_wait = [] {
        cudaFuncAttributes attributes{};
        return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess &&
               attributes.ptxVersion >= 90;
    }();
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.stream = stream;
    config.attrs = &early;
    config.numAttrs = follow == Follow::early && can_wait ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace bitsweep::device
