#include "worker/inference/quant/fp4/fp4.h"
#include "worker/inference/quant/methods.h"

namespace bitsweep::quant {

PackResult pack_fp4(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return pack_codebook(weight, options, backend, fp4_codebook());
}

}  // namespace bitsweep::quant
