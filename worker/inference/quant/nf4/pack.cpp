#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/nf4/nf4.h"

namespace bitsweep::quant {

PackResult pack_nf4(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return pack_codebook(weight, options, backend, nf4_codebook());
}

}  // namespace bitsweep::quant
