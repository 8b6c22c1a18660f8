#include "worker/inference/quant/methods_cuda.h"
#include "worker/inference/quant/nf4/nf4.h"
#include "worker/inference/quant/shared/codebook4_cuda.h"

namespace bitsweep::quant {

PackResult pack_nf4_cuda(const DenseWeight& weight, const MethodOptions& options,
                         CudaBackend& backend) {
    return pack_codebook_cuda(weight, options, backend, nf4_codebook());
}

}  // namespace bitsweep::quant
