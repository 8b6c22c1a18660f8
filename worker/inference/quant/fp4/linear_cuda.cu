#include "worker/inference/quant/fp4/fp4.h"
#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/shared/codebook4_cuda.h"

namespace bitsweep::quant {

PackResult pack_fp4_cuda(const DenseWeight& weight, const MethodOptions& options,
                         CudaBackend& backend) {
    return pack_codebook_cuda(weight, options, backend, fp4_codebook());
}

}  // namespace bitsweep::quant
