#include "worker/inference/engine_parts.h"

namespace bitsweep {

Result<std::unique_ptr<Engine>> load_cuda_engine(const ModelFiles&, const EngineOptions& options,
                                                 LoadTrace*) {
    return make_error(ErrorCode::unsupported,
                      "device '" + options.device +
                          "': this build has no CUDA; use cpu, or build where nvcc is on PATH");
}

}  // namespace bitsweep
